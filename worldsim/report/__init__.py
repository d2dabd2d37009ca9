"""From a run folder to its numbers, tables and page. Drawing libraries are imported only where something is drawn."""

from importlib import import_module
from typing import Any

_HOMES = {
    "RunFolder": "run_folder",
    "build_results": "results",
    "write_results": "results",
    "results_schema": "results",
    "result_tables": "results",
    "results_table": "results",
    "agreement_table": "results",
    "write_report": "page",
}

__all__ = [
    "RunFolder",
    "agreement_table",
    "build_results",
    "result_tables",
    "results_schema",
    "results_table",
    "write_report",
    "write_results",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"worldsim.report.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'worldsim.report' has no attribute '{name}'")
