"""Groups are made of runs: the same small library as theirs."""

from tests.runs.conftest import library as library
