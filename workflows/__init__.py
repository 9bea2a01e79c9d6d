"""The order of things. Imports the standard library, temporalio, the domain and the activities' signatures only."""
