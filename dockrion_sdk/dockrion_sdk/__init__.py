"""What an integrator imports: the Dockfile, checked and filled in, and the adapter of its agent."""

from .dockfile import Dockfile, DockfileError, Problem, load_dockfile
from .loading import load

__all__ = ["Dockfile", "DockfileError", "Problem", "load", "load_dockfile"]
