"""For other teams' workflows: the Nexus service `Autopay`, what crosses its boundary, and how to call it."""
