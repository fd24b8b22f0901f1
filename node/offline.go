package node

import (
	"errors"

	"forebay/node/config"
	"forebay/wal"
)

// Reidentify gives the log of a node that does not run a new identity, for a
// data directory that was copied or restored. Run again after a crash it gives
// another one, which does no harm.
func Reidentify(cfg config.Config) (id wal.ID, err error) {
	n := newNode(cfg, Options{})
	defer func() { err = errors.Join(err, n.close()) }()
	if err := n.openDir(); err != nil {
		return id, err
	}
	if err := n.openState(); err != nil {
		return id, err
	}
	if id, err = wal.Reidentify(n.dir.logDir()); err != nil {
		return id, err
	}
	return id, n.state.SetLogID(id)
}

// Repair opens the log of a node that does not run as the node itself would,
// which recovers it, and closes it again. It returns ErrRunning if the node
// does run.
func Repair(cfg config.Config) (r wal.Recovery, err error) {
	n := newNode(cfg, Options{})
	defer func() { err = errors.Join(err, n.close()) }()
	for _, step := range []func() error{n.openDir, n.openState, n.openLog} {
		if err := step(); err != nil {
			return r, err
		}
	}
	return n.log.Recovery(), nil
}
