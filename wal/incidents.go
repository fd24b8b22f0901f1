package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"forebay/wal/durable"
)

// Reasons of a [Gap] that is not damage.
const (
	ReasonRetention = "deleted by retention"
	ReasonFloor     = "in use elsewhere, but not in the log when it was opened"
	ReasonMissing   = "segment file missing"
)

// maxIncidents bounds what is remembered of damage and of gaps. Past it a
// stretch that several readers meet is counted by each.
const maxIncidents = 4096

// incidents remembers the damage and the gaps that anyone has met, so that each
// is counted, logged and copied to the quarantine folder once.
type incidents struct {
	dir    string
	quota  int64
	logger *slog.Logger
	frozen bool // a log that is only read writes no copies

	mu     sync.Mutex // held while bytes are copied
	sized  bool       // kept has been read from the folder
	damage map[damageKey]struct{}
	gaps   map[uint64]Gap // by last seq

	// Changed under mu, but read without it: Stats must not wait for a sick disk.
	kept    atomic.Int64 // bytes in the quarantine folder
	regions atomic.Uint64
	lost    atomic.Uint64
}

type damageKey struct {
	file   string
	offset int64
}

func newIncidents(o *Options) incidents {
	return incidents{
		dir:    o.Dir,
		quota:  o.QuarantineBytes,
		logger: o.Logger,
		frozen: o.ReadOnly,
		damage: make(map[damageKey]struct{}),
		gaps:   make(map[uint64]Gap),
	}
}

// damaged takes note of damage in the segment file at path.
func (i *incidents) damaged(path string, d *Damage) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := damageKey{d.File, d.Offset}
	if _, known := i.damage[key]; known {
		return
	}
	if len(i.damage) < maxIncidents {
		i.damage[key] = struct{}{}
	}
	i.regions.Add(1)
	i.logger.Error("damage in the log", slog.String("file", d.File), slog.Int64("offset", d.Offset),
		slog.Int64("bytes", d.Bytes), slog.String("reason", d.Reason))
	if err := i.copy(path, d); err != nil {
		i.logger.Error("cannot copy the damaged bytes to the quarantine folder", slog.Any("error", err))
	}
}

// gap takes note of lost seqs and returns the gap as it is to be reported.
func (i *incidents) gap(g Gap) Gap {
	i.mu.Lock()
	defer i.mu.Unlock()
	if known, ok := i.gaps[g.Last]; ok && known.First <= g.First {
		return known
	}
	known := i.gaps[g.Last]
	if known.Last == 0 {
		i.lost.Add(g.Last - g.First + 1)
	} else {
		i.lost.Add(known.First - g.First)
	}
	if len(i.gaps) < maxIncidents || known.Last != 0 {
		i.gaps[g.Last] = g
	}
	i.logger.Error("seqs are lost", slog.Uint64("first", g.First), slog.Uint64("last", g.Last),
		slog.String("reason", g.Reason), slog.String("file", g.File), slog.Int64("offset", g.Offset))
	return g
}

func (i *incidents) totals() (damaged, lost uint64, quarantined int64) {
	return i.regions.Load(), i.lost.Load(), i.kept.Load()
}

// save copies a torn tail to the quarantine folder; it is an error if that
// fails.
func (i *incidents) save(path string, d *Damage) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.copy(path, d)
}

// copy writes the damaged bytes to a file of their own, unless that is there
// already or the folder is full. The caller holds mu.
func (i *incidents) copy(path string, d *Damage) error {
	if i.frozen || i.quota < 0 || d.Bytes == 0 {
		return nil
	}
	if err := i.prepare(); err != nil {
		return err
	}
	if i.kept.Load()+d.Bytes > i.quota {
		i.logger.Warn("the quarantine folder is full: no copy is kept", slog.Int64("limit", i.quota))
		return nil
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(i.copyFrom(from, d), from.Close())
}

// copyFrom names the copy by where the bytes were and by their checksum, so that
// the same damage is not copied again after a restart.
func (i *incidents) copyFrom(from *os.File, d *Damage) error {
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(from, d.Offset, d.Bytes)); err != nil {
		return err
	}
	name := filepath.Join(i.dir, quarantineName, fmt.Sprintf("%s-%d-%d-%08x", d.File, d.Offset, d.Bytes, sum.Sum32()))
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	err := durable.Replace(name, filePerm, func(to *os.File) error {
		_, err := io.Copy(to, io.NewSectionReader(from, d.Offset, d.Bytes))
		return err
	})
	if err == nil {
		i.kept.Add(d.Bytes)
	}
	return err
}

// prepare makes the folder and learns what is in it.
func (i *incidents) prepare() error {
	if i.sized {
		return nil
	}
	folder := filepath.Join(i.dir, quarantineName)
	err := os.Mkdir(folder, dirPerm)
	if err == nil {
		err = durable.SyncDir(i.dir)
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	size := int64(0)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), durable.TempSuffix) {
			if err := removeIfThere(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
			continue
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		size += info.Size()
	}
	i.kept.Store(size)
	i.sized = true
	return nil
}

// moveIn moves a foreign file of the log's directory to the quarantine folder.
func (i *incidents) moveIn(name string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.prepare(); err != nil {
		return err
	}
	i.logger.Warn("moving a foreign file out of the log's way", slog.String("file", name))
	if err := os.Rename(filepath.Join(i.dir, name), filepath.Join(i.dir, quarantineName, name)); err != nil {
		return err
	}
	return durable.SyncDir(i.dir)
}
