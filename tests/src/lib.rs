//! Whole-system tests on real services
