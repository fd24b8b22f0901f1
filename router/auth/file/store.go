package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"forebay/router/auth"
)

// Store changes a key file. Each change is durable when it returns, replaces the
// file as a whole, and excludes those of other processes meanwhile. A YAML file
// keeps its comments and layout, a JSON file stays JSON.
type Store struct{ path string }

// NewStore is the store of the file at path. The first Create or Import makes it.
func NewStore(path string) *Store { return &Store{path: path} }

// Close does nothing: it lets a Store stand where package postgres's can.
func (s *Store) Close(context.Context) error { return nil }

// List returns the keys in the order of the file. With an error that wraps
// auth.ErrKeysLeftOut the keys are those that can be read.
func (s *Store) List(context.Context) ([]auth.Key, error) {
	_, list, err := s.read()
	if refused := list.refused(); err == nil && refused != nil {
		err = fmt.Errorf("key file %s: %w: %w", s.path, auth.ErrKeysLeftOut, refused)
	}
	return list.keys, err
}

// Create adds a key. ErrKeyExists if its digest is there already.
func (s *Store) Create(_ context.Context, key auth.Key) error {
	if err := key.Validate(); err != nil {
		return err
	}
	return s.change(func(keys []auth.Key) ([]auth.Key, error) {
		if slices.ContainsFunc(keys, hasDigest(key.Digest)) {
			return nil, auth.ErrKeyExists
		}
		return append(keys, key), nil
	})
}

// Import adds those keys whose digest is not there yet, all or, with an error,
// none, and returns how many it added.
func (s *Store) Import(_ context.Context, keys []auth.Key) (added int, err error) {
	err = s.change(func(present []auth.Key) ([]auth.Key, error) {
		known := make(map[auth.Digest]bool, len(present))
		for _, key := range present {
			known[key.Digest] = true
		}
		for _, key := range keys {
			if err := key.Validate(); err != nil {
				return nil, fmt.Errorf("key %s: %w", key.ID, err)
			}
			if !known[key.Digest] {
				known[key.Digest] = true
				present = append(present, key)
				added++
			}
		}
		return present, nil
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

// Revoke withdraws a key from now on. Reference is as in auth.ParseReference. A
// key that is revoked already stays as it is.
func (s *Store) Revoke(_ context.Context, reference string) (auth.Key, error) {
	var revoked auth.Key
	err := s.change(func(keys []auth.Key) ([]auth.Key, error) {
		i, err := find(keys, reference)
		if err != nil {
			return nil, err
		}
		if keys[i].RevokedAt.IsZero() {
			keys[i].RevokedAt = stamp()
		}
		revoked = keys[i]
		return keys, nil
	})
	return revoked, err
}

// Rotate adds a key of this digest with the settings of another, which expires
// after overlap. See auth.Rotated.
func (s *Store) Rotate(_ context.Context, reference string, digest auth.Digest, overlap time.Duration) (expiring, next auth.Key, err error) {
	err = s.change(func(keys []auth.Key) ([]auth.Key, error) {
		i, err := find(keys, reference)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(keys, hasDigest(digest)) {
			return nil, auth.ErrKeyExists
		}
		if expiring, next, err = auth.Rotated(keys[i], digest, stamp(), overlap); err != nil {
			return nil, err
		}
		keys[i] = expiring
		return append(keys, next), nil
	})
	return expiring, next, err
}

// stamp is the present in whole seconds, for people to read.
func stamp() time.Time { return time.Now().UTC().Truncate(time.Second) }

func hasDigest(digest auth.Digest) func(auth.Key) bool {
	return func(key auth.Key) bool { return key.Digest == digest }
}

func find(keys []auth.Key, reference string) (int, error) {
	ref, err := auth.ParseReference(reference)
	if err != nil {
		return 0, err
	}
	matches := func(key auth.Key) bool { return strings.HasPrefix(key.Digest.String(), ref) }
	i := slices.IndexFunc(keys, matches)
	if i < 0 {
		return 0, fmt.Errorf("%w: %s", auth.ErrKeyNotFound, ref)
	}
	if slices.ContainsFunc(keys[i+1:], matches) {
		return 0, fmt.Errorf("%w: %s", auth.ErrKeyAmbiguous, ref)
	}
	return i, nil
}

// read returns the file's text and what it says; nothing if there is no file.
func (s *Store) read() ([]byte, listing, error) {
	text, err := readFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, listing{}, nil
	}
	if err != nil {
		return nil, listing{}, fmt.Errorf("key file: %w", err)
	}
	list, err := read(text)
	if err != nil {
		return nil, listing{}, fmt.Errorf("key file %s: %w", s.path, err)
	}
	return text, list, nil
}

// change reads the file, lets edit change its keys in place or append to them,
// and writes the result, all under a lock on the file's folder.
func (s *Store) change(edit func([]auth.Key) ([]auth.Key, error)) error {
	folder, err := os.Open(filepath.Dir(s.path))
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	defer folder.Close() // gives up the lock
	if err := unix.Flock(int(folder.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock the key file's folder: %w", err)
	}
	text, before, err := s.read()
	if err != nil {
		return err
	}
	after, err := edit(slices.Clone(before.keys))
	if err != nil {
		return err
	}
	edited, err := render(text, before, after)
	if err != nil {
		return fmt.Errorf("key file %s: %w", s.path, err)
	}
	if text != nil && bytes.Equal(edited, text) {
		return nil
	}
	return replace(s.path, edited)
}
