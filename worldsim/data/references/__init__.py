"""Published success rates, real beside simulated, by name: facts that a run can be set beside. The numbers are the YAML files here."""

from worldsim.data.references.reference import Measured, Reference, load_reference, reference_names

__all__ = ["Measured", "Reference", "load_reference", "reference_names"]
