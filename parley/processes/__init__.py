"""The processes that a cluster runs: worker, gateway and analytics."""
