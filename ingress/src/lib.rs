//! Who asks: webhooks and API calls become deploy jobs
