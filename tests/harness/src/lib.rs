//! A real control plane, simulated nodes and worn-in clusters.
