//! What every engine must do, as tests.
