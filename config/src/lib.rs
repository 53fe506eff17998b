//! How a Longshore configuration file is read, and every fault in it found
