"""From installed distributions to what can be trusted of them."""

from tasker_host.plugins.fault import Fault, Stage
from tasker_host.plugins.lifespan import lifespans
from tasker_host.plugins.loader import load_plugins
from tasker_host.plugins.roster import Contribution, Plugin, Roster, Status

__all__ = ["Contribution", "Fault", "Plugin", "Roster", "Stage", "Status", "lifespans", "load_plugins"]
