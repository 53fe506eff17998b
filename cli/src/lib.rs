//! Who operates: the longshore command
