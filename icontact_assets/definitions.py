"""What Dagster loads: the definitions that the settings of this environment ask for."""

import dagster as dg

from icontact_assets.build import build_defs
from icontact_assets.settings.load import load_settings

# In one process a step takes 0.1 s, in one of its own a second.
defs = dg.Definitions.merge(build_defs(load_settings()), dg.Definitions(executor=dg.in_process_executor))
