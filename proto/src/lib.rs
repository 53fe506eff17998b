//! The words Longshore's processes share: jobs, operations, events, follows, images, ids
