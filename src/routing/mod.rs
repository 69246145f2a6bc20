//! Floor 1: which model a request goes to; pure.
