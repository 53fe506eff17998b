#![doc = include_str!("../README.md")]

pub mod api;
pub mod ask;
mod catalogue;
mod event;
mod follow;
#[cfg(test)]
mod fuzzing;
mod git_stack;
mod id;
mod image;
mod job;
mod name;
mod operation;
pub mod reason;
mod sighting;
mod stack_text;
mod target_pattern;
pub mod variables;
mod version;
pub mod window;

pub use catalogue::{
    Catalogue, CatalogueType, FaultKind, Inventory, LOOKS, Listing, ListingFault, TargetGates,
};
pub use event::{
    Event, EventData, EventId, ImageChange, JobOrId, PutOnHold, SOURCE, State, Tasks, TypeName, UnknownType,
};
pub use follow::{Follow, FollowError, TagPolicy};
pub use git_stack::{GitStack, GitStackError};
pub use id::{ChainId, IdError, JobId};
pub use image::{Digest, ImageError, ImageRef, Repository};
pub use job::{Cause, CauseKind, Gates, Hold, Job, Undecodable};
pub use name::{NameError, PoolName, TargetName};
pub use operation::{Operation, Slot};
pub use reason::Reason;
pub use sighting::{NoSighting, Sighting};
pub use stack_text::{Given, Named, StackText, StackTextError};
pub use target_pattern::{NoTargetPattern, TargetPattern};
pub use window::Window;

pub use jiff::Timestamp;
