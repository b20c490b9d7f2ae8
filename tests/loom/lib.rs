//! Nothing: the tests beside this file are all there is.
