package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"forebay/wal/durable"
)

// dataDir looks at the folder, and tells whether a node holds it.
func (d *doctor) dataDir() (running bool, findings []Finding) {
	const check = "data directory"
	path := d.cfg.Node.DataDir
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		parent := existing(path)
		findings = append(findings, fine(check, "%s is not there yet: the node creates it at its first start, in %s", path, parent))
		return false, append(findings, d.disk(parent)...)
	}
	if err != nil {
		return false, []Finding{broken(check, "give this user the right to look there", "%v", err)}
	}
	if !info.IsDir() {
		return false, []Finding{broken(check, "choose another node.data_dir, or move the file away", "%s is not a folder", path)}
	}
	findings = append(findings, d.owner(path, info))
	running, f := d.lock(path)
	findings = append(findings, f...)
	if text, err := os.ReadFile(filepath.Join(path, "VERSION")); err == nil {
		if v := strings.TrimSpace(string(text)); v != layoutVersion {
			findings = append(findings, broken(check, "run the forebay that wrote it, or a newer one", "its layout version is %q, this program knows %q", v, layoutVersion))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		findings = append(findings, broken(check, "give this user the right to read it", "%v", err))
	}
	return running, append(findings, d.disk(path)...)
}

// existing is the nearest folder above path that there is.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || filepath.Dir(path) == path {
			return path
		}
		path = filepath.Dir(path)
	}
}

// initialised tells whether a node has ever used the folder.
func (d *doctor) initialised() bool {
	_, err := os.Stat(filepath.Join(d.cfg.Node.DataDir, "VERSION"))
	return err == nil
}

func (d *doctor) owner(path string, info os.FileInfo) Finding {
	const check = "data directory"
	if info.Mode().Perm()&0o007 != 0 {
		return doubtful(check, "chmod o= "+path+": it holds what customers sent", "%s is open to every user of this machine (%s)", path, info.Mode().Perm())
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		return doubtful(check, "run the node, and this command, as the user who owns it", "%s belongs to user %d, this is user %d", path, s.Uid, os.Geteuid())
	}
	return fine(check, "%s, %s", path, info.Mode().Perm())
}

// lock tells whether a process holds the folder, without creating anything.
func (d *doctor) lock(path string) (running bool, findings []Finding) {
	file, err := os.OpenFile(filepath.Join(path, "LOCK"), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, []Finding{broken("data directory", "run this command as the node's user", "%v", err)}
	}
	defer file.Close() // drops the lock
	err = durable.Lock(file, false)
	switch {
	case errors.Is(err, durable.ErrLocked):
		return true, nil
	case err != nil:
		return false, []Finding{broken("data directory", "use a file system that can lock files (flock)", "LOCK cannot be locked: %v", err)}
	}
	return false, nil
}

// What a file system must have free, besides the log's budget, for the state
// and a quiet night.
const (
	leastFreeShare  = 0.05
	leastFreeInodes = 1000
)

// disk looks at the file system that dir is on, and at how it syncs.
func (d *doctor) disk(dir string) (findings []Finding) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return []Finding{broken("file system", "check the disk and its mount", "look at the file system of %s: %v", dir, err)}
	}
	kind, remedy := fileSystem(int64(s.Type))
	if remedy != "" {
		findings = append(findings, doubtful("file system", remedy, "%s is on %s", dir, kind))
	} else {
		findings = append(findings, fine("file system", "%s", kind))
	}
	total, free := int64(s.Blocks)*int64(s.Bsize), int64(s.Bavail)*int64(s.Bsize)
	text := fmt.Sprintf("%d of %d MiB are free", free>>20, total>>20)
	switch budget := int64(d.cfg.WAL.DiskBudget); {
	case float64(free) < leastFreeShare*float64(total):
		findings = append(findings, broken("free space", "free space: new events will be dropped, since the log gets no more than what is free", "%s", text))
	case budget > 0 && budget > total:
		findings = append(findings, doubtful("free space", "lower wal.disk_budget, or give it a larger disk", "%s, and wal.disk_budget is %d MiB", text, budget>>20))
	case s.Files > 0 && s.Ffree < leastFreeInodes:
		findings = append(findings, broken("free space", "remove files, or make the file system with more inodes", "%s, but only %d inodes are", text, s.Ffree))
	default:
		findings = append(findings, fine("free space", "%s", text))
	}
	if d.cfg.WAL.SyncInterval() > 0 {
		findings = append(findings, doubtful("wal.fsync", "set wal.fsync: always", "replies do not wait for the disk: a power cut loses what was accepted within the last %s", d.cfg.WAL.SyncInterval()))
	}
	times, err := timeSyncs(dir)
	if err != nil {
		return append(findings, broken("disk", "give this user the right to write there, or mend the disk (dmesg)", "a file in %s cannot be written and synced: %v", dir, err))
	}
	return append(findings, judgeSyncs(times, kind, rotates(dir)))
}

// How much is synced to learn how long that takes.
const (
	syncTries    = 60
	syncBytes    = 4 << 10
	syncPatience = 3 * time.Second
)

// timeSyncs appends to a temporary file in dir and syncs, as the log does. The
// file is gone when it returns.
func timeSyncs(dir string) (times []time.Duration, err error) {
	file, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	block := make([]byte, syncBytes)
	for begun := time.Now(); len(times) < syncTries && time.Since(begun) < syncPatience; {
		if _, err := file.Write(block); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := file.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(start))
	}
	slices.Sort(times)
	return times, nil
}

// Medians of syncs below which no disk has written anything: a flush costs
// even the fastest solid-state disk tens of microseconds, and a rotating one
// the turn of a platter, unless a controller with a battery answers for it.
const (
	implausible         = 15 * time.Microsecond
	implausibleRotating = time.Millisecond
)

// judgeSyncs says what the times of syncs, shortest first, mean.
func judgeSyncs(times []time.Duration, kind string, rotating bool) Finding {
	const check = "disk"
	median, p99 := times[len(times)/2], times[len(times)*99/100]
	text := fmt.Sprintf("%d syncs of %d bytes took %s each, the slowest %s", len(times), syncBytes, median.Round(time.Microsecond), p99.Round(time.Microsecond))
	if inMemory(kind) {
		return doubtful(check, "put node.data_dir on a disk", "%s, which says nothing: %s has no disk to sync to", text, kind)
	}
	if median < implausible || rotating && median < implausibleRotating {
		return doubtful(check, "check that nothing below ignores it: a disk's volatile write cache, a controller without a battery, a hypervisor's cache=unsafe, eatmydata. "+
			"This is only a hint: a cache with a battery is as fast and honest, and a liar may be slow",
			"%s: so fast that syncs may not reach the disk, and a power cut could lose accepted events", text)
	}
	if p99 > syncCeiling {
		return broken(check, "look for what else uses the disk (iostat -x 1), and at the disk itself (smartctl -a)", "%s: every reply waits for one", text)
	}
	if median > syncFloor {
		return doubtful(check, "every reply waits for one: use a faster disk, or look for what else uses it (iostat -x 1)", "%s", text)
	}
	return fine(check, "%s", text)
}
