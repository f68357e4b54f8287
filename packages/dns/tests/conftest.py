"""What the tests of the resolvers share."""
