"""What an integrator imports: the Dockfile, checked and filled in."""

from .dockfile import Dockfile, DockfileError, Problem, load_dockfile

__all__ = ["Dockfile", "DockfileError", "Problem", "load_dockfile"]
