"""LiftOS Causal: will serve `liftos.causal.v1.CausalService`, the API of the Causal module."""
