package wal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"forebay/wal/durable"
)

// identityVersion is the version of the identity file.
const identityVersion = 1

// identity is the content of the identity file: every ID that blocks of this
// log may carry, oldest first; the last is the one that new blocks get.
type identity struct {
	Version int             `json:"version"`
	IDs     []identityEntry `json:"ids"`
}

type identityEntry struct {
	ID       ID     `json:"id"`
	FirstSeq uint64 `json:"first_seq"` // the first seq that was given out under it
}

func (i *identity) current() identityEntry { return i.IDs[len(i.IDs)-1] }

func (i *identity) has(id ID) bool {
	return slices.ContainsFunc(i.IDs, func(e identityEntry) bool { return e.ID == id })
}

// readIdentity returns nil and no error if the directory has no identity file.
func readIdentity(dir string) (*identity, error) {
	path := filepath.Join(dir, identityName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wal: identity: %w", err)
	}
	var i identity
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&i); err != nil {
		return nil, fmt.Errorf("wal: %s is damaged (%w): move it away to take the identity from the log's blocks", path, err)
	}
	if i.Version > identityVersion {
		return nil, fmt.Errorf("wal: %s has version %d, newer than this release reads (%d): run the release that wrote it, or a newer one", path, i.Version, identityVersion)
	}
	if i.Version < 1 || len(i.IDs) == 0 || slices.ContainsFunc(i.IDs, func(e identityEntry) bool { return e.ID.IsZero() }) {
		return nil, fmt.Errorf("wal: %s is damaged (no identity in it): move it away to take the identity from the log's blocks", path)
	}
	return &i, nil
}

func writeIdentity(dir string, i *identity) error {
	text, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return err
	}
	err = durable.Replace(filepath.Join(dir, identityName), filePerm, func(f *os.File) error {
		_, err := f.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return fmt.Errorf("wal: save the identity: %w", err)
	}
	return nil
}

// Reidentify gives a stopped log a new identity and returns it. Run it on a log
// directory that was copied or restored from a snapshot, before a node starts
// on it: two living logs with one identity would take each other's events for
// repeats. Blocks that are already there keep the identity they were written
// under. The new one is durable on return.
func Reidentify(dir string) (ID, error) {
	l, err := Open(Options{Dir: dir, ReadOnly: true, exclusive: true})
	if err != nil {
		return ID{}, err
	}
	next := identity{Version: identityVersion, IDs: slices.Clone(l.identity.IDs)}
	next.IDs = append(next.IDs, identityEntry{ID: newID(), FirstSeq: l.nextSeq()})
	err = writeIdentity(dir, &next)
	if err = errors.Join(err, l.Close()); err != nil {
		return ID{}, err
	}
	return next.current().ID, nil
}
