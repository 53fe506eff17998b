//! How Longshore's words travel: one contract, two engines
