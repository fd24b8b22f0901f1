package node

// KnownKeys is how many idempotency keys a node's dedupe window holds.
func KnownKeys(n *Node) int { return n.window.Stats().Keys }
