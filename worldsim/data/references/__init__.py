"""Published success rates, real beside simulated, by name: facts that a run can be set beside. The numbers are the YAML files here."""

from worldsim.data.references.reference import KINDS, Measured, Reference, family_names, load_reference, reference_names

__all__ = ["KINDS", "Measured", "Reference", "family_names", "load_reference", "reference_names"]
