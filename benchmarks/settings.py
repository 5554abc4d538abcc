"""Every setting and every variable with every odd value; prints how many loaded and how many were refused.

python -m benchmarks.settings
"""

from __future__ import annotations

from icontact_assets_tests.odd_settings import check_all


def main() -> None:
    print(", ".join(f"{number} {verdict}" for verdict, number in check_all().items()))


if __name__ == "__main__":
    main()
