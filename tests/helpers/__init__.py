"""What several tests share: small networks, builds, and parties in processes of their own."""
