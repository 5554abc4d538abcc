"""What Dagster loads: the definitions that the settings of this environment ask for."""

from icontact_assets.build import build_defs
from icontact_assets.settings.load import load_settings

defs = build_defs(load_settings())
