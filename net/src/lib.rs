//! Tidegate. 
