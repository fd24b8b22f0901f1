package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// saveInterval is how far the age of what is saved may be behind the truth.
	saveInterval = 10 * time.Minute
	// retryInterval is when what could not be saved or told is tried again.
	retryInterval = 5 * time.Second
	// maxChangeIDs is how many keys of one kind a Change names.
	maxChangeIDs = 20
)

// KeeperOptions set a Keeper up.
type KeeperOptions struct {
	Directory *Directory
	Cache     Cache
	Source    string             // what fills the directory; keys of another source are not restored
	OnChange  func(Change) error // is told what has changed before it is saved; nil: nobody is
	Logger    *slog.Logger
}

// Keeper carries a directory's keys over a restart, and tells what changes in them.
type Keeper struct {
	KeeperOptions
	told    *snapshot // the set that OnChange knows; nil: the first is no change
	savedAt time.Time // when what is in the cache was true
	saved   uint64    // number of the set in the cache

	mu  sync.Mutex
	err error
}

// NewKeeper makes a keeper. Load or Run begins its work.
func NewKeeper(o KeeperOptions) *Keeper { return &Keeper{KeeperOptions: o} }

// Load fills the directory from the cache, so that a node can start without the
// source. Without a cached set nothing happens. What of it cannot be read is left
// out and named by Err.
func (k *Keeper) Load() {
	saved, err := k.Cache.LoadKeys()
	if err != nil {
		k.fail(fmt.Errorf("read the cached keys: %w", err))
		return
	}
	k.fail(saved.Unreadable)
	if saved.At.IsZero() || saved.Source != k.Source {
		return
	}
	if err := k.Directory.Restore(saved); err != nil {
		k.fail(fmt.Errorf("cached keys: %w", err))
		return
	}
	k.told = k.Directory.current.Load()
	k.saved, k.savedAt = k.told.set, k.told.refreshed
	k.Logger.Info("keys loaded", "source", "cache", "keys", k.Directory.Len(), "age", k.Directory.Age().Round(time.Second).String())
}

// Run tells and saves each change until ctx ends, and once more then.
func (k *Keeper) Run(ctx context.Context) {
	for {
		k.settle(saveInterval)
		again := saveInterval
		if k.Err() != nil {
			again = retryInterval
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
			timer.Stop()
			k.settle(0)
			return
		case <-k.Directory.changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// Err is why changes are not saved or told, or what of the cache could not be
// read; nil if all is well.
func (k *Keeper) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *Keeper) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil && (k.err == nil || err.Error() != k.err.Error()) {
		k.Logger.Error("keys are not kept as they should be", "err", err)
	}
	k.err = err
}

// settle tells of the set, if it is another than was told, and saves it, if it is
// another than was saved or was confirmed so much later.
func (k *Keeper) settle(later time.Duration) {
	s := k.Directory.current.Load()
	if !s.answered {
		return
	}
	var untold error
	if k.told == nil || k.told.set != s.set {
		if change := changeOf(k.told, s); k.told != nil && k.OnChange != nil && !change.Empty() {
			untold = k.OnChange(change)
		}
		if untold == nil {
			k.told = s
		}
	}
	if k.saved == s.set && s.refreshed.Sub(k.savedAt) <= later {
		k.fail(untold)
		return
	}
	err := k.Cache.SaveKeys(Saved{Keys: s.keys, At: s.refreshed, Source: k.Source, Doubt: s.doubt})
	if err != nil {
		err = fmt.Errorf("the keys are not kept for a restart: %w", err)
	} else {
		k.saved, k.savedAt = s.set, s.refreshed
	}
	k.fail(errors.Join(untold, err))
}

// Change is what differs between two sets of keys: how many keys of each kind, and
// the IDs of the first 20 of them.
type Change struct {
	Added     KeyList `json:"added,omitzero"`
	Removed   KeyList `json:"removed,omitzero"`
	Revoked   KeyList `json:"revoked,omitzero"`
	Unrevoked KeyList `json:"unrevoked,omitzero"` // revoked before
	Altered   KeyList `json:"altered,omitzero"`   // otherwise
	Doubt     *Doubt  `json:"doubt,omitempty"`    // keys that are missing stay for now
}

// KeyList names keys.
type KeyList struct {
	Count int      `json:"count"`
	IDs   []string `json:"ids"`
}

func (l *KeyList) add(id string) {
	if l.Count++; len(l.IDs) < maxChangeIDs {
		l.IDs = append(l.IDs, id)
	}
}

// Empty tells whether nothing differs.
func (c Change) Empty() bool {
	return c.Added.Count+c.Removed.Count+c.Revoked.Count+c.Unrevoked.Count+c.Altered.Count == 0 && c.Doubt == nil
}

func changeOf(before, after *snapshot) (c Change) {
	if before == nil {
		return c
	}
	if d := after.doubt; d != nil && (before.doubt == nil || before.doubt.Lost != d.Lost) {
		c.Doubt = d
	}
	for i := range after.keys {
		key := &after.keys[i]
		at := before.find(key.Digest)
		if at < 0 {
			c.Added.add(key.ID)
			continue
		}
		switch old := &before.keys[at]; {
		case old.RevokedAt.IsZero() && !key.RevokedAt.IsZero():
			c.Revoked.add(key.ID)
		case !old.RevokedAt.IsZero() && key.RevokedAt.IsZero():
			c.Unrevoked.add(key.ID)
		case !sameSettings(old, key):
			c.Altered.add(key.ID)
		}
	}
	for i := range before.keys {
		if after.find(before.keys[i].Digest) < 0 {
			c.Removed.add(before.keys[i].ID)
		}
	}
	return c
}

func sameSettings(a, b *Key) bool {
	return a.Project == b.Project && a.RequestsPerSecond == b.RequestsPerSecond && a.Burst == b.Burst && a.Strict == b.Strict &&
		a.ExpiresAt.Equal(b.ExpiresAt) && slices.Equal(a.Origins, b.Origins)
}
