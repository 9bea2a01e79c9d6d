"""What an owner's key signs, here or in any wallet: granting a session and revoking it."""
