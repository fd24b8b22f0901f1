package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"forebay/wal/durable"
)

// layoutVersion is what data_dir/VERSION holds. A directory of a newer layout
// is refused by name; one of an older layout stays readable.
const layoutVersion = "1"

// dataDir is a node's folder, held by one process at a time.
//
//	VERSION   layout of this folder
//	LOCK      locked (flock) while a process uses the folder
//	wal/      the log, see wal/FORMAT.md
//	state/    Pebble: cursors, plans, dead letters, cached keys
type dataDir struct {
	path string
	lock *os.File
	self os.FileInfo // the folder as it was opened
}

func (d *dataDir) logDir() string   { return filepath.Join(d.path, "wal") }
func (d *dataDir) stateDir() string { return filepath.Join(d.path, "state") }

// openDataDir creates the folder if need be and locks it.
func openDataDir(path string) (*dataDir, error) {
	if err := durable.MakeDir(path, 0o750); err != nil {
		return nil, fmt.Errorf("node.data_dir %s cannot be created (choose another, or give this user the right to write there): %w", path, err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "LOCK"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("node.data_dir %s is not writable (choose another, or give this user the right to write there): %w", path, err)
	}
	if err := durable.Lock(lock, false); err != nil {
		closeErr := lock.Close()
		if errors.Is(err, durable.ErrLocked) {
			return nil, errors.Join(fmt.Errorf("node.data_dir %s is in use by another forebay process: stop it, or give this node a folder of its own: %w", path, ErrRunning), closeErr)
		}
		return nil, errors.Join(fmt.Errorf("lock node.data_dir %s: %w", path, err), closeErr)
	}
	d := &dataDir{path: path, lock: lock}
	d.self, err = os.Stat(path)
	if err == nil {
		err = d.checkVersion()
	}
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// errDirGone is why nothing is taken while the folder is not where it was.
var errDirGone = errors.New("is gone: it was removed, moved, replaced or unmounted while the node runs")

// inPlace reports that the folder is not the one that was opened any more, or that
// the state in it is gone.
func (d *dataDir) inPlace() error {
	now, err := os.Stat(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(now, d.self):
		return fmt.Errorf("node.data_dir %s %w", d.path, errDirGone)
	case err != nil:
		return fmt.Errorf("look at node.data_dir: %w", err)
	}
	if _, err := os.Stat(d.stateDir()); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s %w", d.stateDir(), errDirGone)
	}
	return nil
}

func (d *dataDir) checkVersion() error {
	file := filepath.Join(d.path, "VERSION")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := durable.Write(file, 0o640, []byte(layoutVersion+"\n")); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if v := strings.TrimSpace(string(text)); v != layoutVersion {
		return fmt.Errorf("node.data_dir %s has layout version %q, this program knows %q: run the forebay that wrote it, or a newer one", d.path, v, layoutVersion)
	}
	return nil
}

func (d *dataDir) close() error {
	if err := d.lock.Close(); err != nil { // closing drops the lock
		return fmt.Errorf("unlock node.data_dir: %w", err)
	}
	return nil
}
