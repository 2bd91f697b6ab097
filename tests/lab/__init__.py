"""The lab: real peers in network namespaces, behind links with a rate, a delay, losses and NAT. See docs/lab.md."""

from tests.lab.net import Host, Lab, Link, lab

__all__ = ["Host", "Lab", "Link", "lab"]
