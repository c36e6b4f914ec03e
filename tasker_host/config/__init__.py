"""Configuration: TOML and variables become checked settings, each value with its origin."""

from tasker_host.config.config import Config, Entry
from tasker_host.config.load import ENVIRONMENTS, load
from tasker_host.config.origins import Origin, dotted
from tasker_host.config.settings import PluginSettings, Settings

__all__ = ["ENVIRONMENTS", "Config", "Entry", "Origin", "PluginSettings", "Settings", "dotted", "load"]
