package waltest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Op is a kind of operation that a Disk counts and can fail.
type Op string

// The operations. Open includes the creation of a file.
const (
	Read     Op = "read"
	Write    Op = "write"
	Sync     Op = "sync"
	Open     Op = "open"
	Rename   Op = "rename"
	Unlink   Op = "unlink"
	SyncDir  Op = "sync directory"
	Truncate Op = "truncate"
	Allocate Op = "allocate"
)

// Fault fails operations of one kind.
type Fault struct {
	Op    Op
	Nth   int           // which to fail, counted from when the fault is set; 1 is the next
	Count int           // how many from there on; 0 is one, negative is all until Heal
	Err   syscall.Errno // 0 is EIO
	Short bool          // a failed write has written the first half
}

// armed is a fault with the operations of its kind that it has seen.
type armed struct {
	Fault
	seen, hits int
}

// strikes counts an operation and reports whether it is to fail.
func (f *armed) strikes(op Op) bool {
	if f.Op != op {
		return false
	}
	f.seen++
	if f.seen < f.Nth || f.Count > 0 && f.seen >= f.Nth+f.Count {
		return false
	}
	f.hits++
	return true
}

// Disk is a mounted faulty disk.
type Disk struct {
	mount   string
	backing string

	mu     sync.Mutex
	faults []*armed
	counts map[Op]int
	files  map[uint64]*media            // by inode of the backing file
	names  map[string]map[string]uint64 // directory -> name -> inode, as synced

	changes int       // operations that changed something or made it durable
	watch   func(int) // told of each, see OnChange
}

// media is what the disk has of one file.
type media struct {
	file   *os.File // to read it back; kept open so that its inode is not used again
	stable []byte
	dirty  []span // written since the last sync
}

type span struct{ from, to int64 }

// Mount mounts a new, empty disk until the test ends.
func Mount(t testing.TB) *Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "mounting a faulty disk needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		missing(t, "mounting a faulty disk needs /dev/fuse: "+err.Error())
	}
	dir := memoryDir(t)
	d := &Disk{
		mount:   filepath.Join(dir, "disk"),
		backing: filepath.Join(dir, "backing"),
		counts:  make(map[Op]int),
		files:   make(map[uint64]*media),
		names:   make(map[string]map[string]uint64),
	}
	for _, p := range []string{d.mount, d.backing} {
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var st syscall.Stat_t
	if err := syscall.Stat(d.backing, &st); err != nil {
		t.Fatal(err)
	}
	root := &fs.LoopbackRoot{Path: d.backing, Dev: st.Dev}
	top := &node{LoopbackNode: fs.LoopbackNode{RootData: root}, disk: d}
	root.RootNode = top
	server, err := fs.Mount(d.mount, top, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "faulty", Name: "faulty", DirectMountStrict: true, DisableXAttrs: true, MaxWrite: 1 << 20,
	}})
	if err != nil {
		missing(t, "mounting a faulty disk: "+err.Error())
	}
	// The disk's server lives in this process. If the process dies in the middle of a request to itself, that request
	// can never end, nor can the process. So a test that hangs loses its disk long before it is killed for its time.
	abort := func() error { return syscall.Unmount(d.mount, syscall.MNT_FORCE|syscall.MNT_DETACH) }
	limit := hangLimit
	if os.Getenv("FOREBAY_TORTURE") != "" {
		limit = longHangLimit
	}
	hung := time.AfterFunc(limit, func() { _ = abort() })
	t.Cleanup(func() {
		hung.Stop()
		d.Heal()
		// The kernel lets go of files a moment after they were closed. Unmount waits for that, not long enough on a busy
		// machine.
		err := server.Unmount()
		for end := time.Now().Add(unmountLimit); errors.Is(err, syscall.EBUSY) && time.Now().Before(end); {
			runtime.GC() // tidwall/wal leaves a file whose last sync failed to the garbage collector
			err = server.Unmount()
		}
		if err != nil {
			t.Errorf("unmount %s, is a file still open? %v", d.mount, errors.Join(err, abort()))
		}
		for _, m := range d.files {
			m.file.Close()
		}
	})
	return d
}

const unmountLimit = 10 * time.Second

// These are longer than any test, and any long form of one, keeps a disk.
const (
	hangLimit     = 4 * time.Minute
	longHangLimit = time.Hour
)

// missing ends a test that cannot run here.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// memoryDir returns a folder for the test, in memory if the system has a place
// for that: the disk decides by itself what is durable.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "waltest-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Dir is where the disk is mounted.
func (d *Disk) Dir() string { return d.mount }

// Inject sets the faults, in place of those before.
func (d *Disk) Inject(faults ...Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = nil
	for _, f := range faults {
		if f.Err == 0 {
			f.Err = syscall.EIO
		}
		if f.Count == 0 {
			f.Count = 1
		}
		d.faults = append(d.faults, &armed{Fault: f})
	}
}

// Heal takes all faults away.
func (d *Disk) Heal() { d.Inject() }

// Hits returns how often each fault has struck, in the order of Inject.
func (d *Disk) Hits() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	hits := make([]int, len(d.faults))
	for i, f := range d.faults {
		hits[i] = f.hits
	}
	return hits
}

// Count returns how many operations of a kind there have been.
func (d *Disk) Count(op Op) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[op]
}

// begin counts an operation and returns the fault that it is to fail with, or
// nil. The caller holds mu.
func (d *Disk) begin(op Op) *armed {
	d.counts[op]++
	var struck *armed
	for _, f := range d.faults {
		if f.strikes(op) && struck == nil {
			struck = f
		}
	}
	return struck
}

// fails is begin for operations that fail in one way only.
func (d *Disk) fails(op Op) syscall.Errno {
	if f := d.begin(op); f != nil {
		return f.Err
	}
	return 0
}

// listInodes returns the files of a folder with their inodes, and its folders.
func listInodes(dir string) (map[string]uint64, []string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	files := make(map[string]uint64)
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, e.Name())
			continue
		}
		info, err := e.Info()
		if err != nil {
			return nil, nil, err
		}
		files[e.Name()] = info.Sys().(*syscall.Stat_t).Ino
	}
	return files, dirs, nil
}

// created takes note of a file that has been opened with O_CREATE.
func (d *Disk) created(inode uint64, path string) error {
	if d.files[inode] != nil {
		return nil
	}
	f, err := os.Open(path)
	if err == nil {
		d.files[inode] = &media{file: f}
	}
	return err
}

// wrote takes note of bytes that are in the page cache.
func (d *Disk) wrote(inode uint64, from, to int64) {
	m := d.files[inode]
	m.dirty = append(m.dirty, span{from, to})
}

// synced makes a file's new bytes durable.
func (m *media) synced() error {
	info, err := m.file.Stat()
	if err != nil {
		return err
	}
	size := info.Size()
	if grow := size - int64(len(m.stable)); grow > 0 {
		m.stable = append(m.stable, make([]byte, grow)...)
	}
	m.stable = m.stable[:size]
	for _, s := range m.dirty {
		s.to = min(s.to, size)
		if s.from >= s.to {
			continue
		}
		if _, err := m.file.ReadAt(m.stable[s.from:s.to], s.from); err != nil {
			return fmt.Errorf("read back what was synced: %w", err)
		}
	}
	m.dirty = nil
	return nil
}

// dropped forgets a file's new bytes after a sync that failed.
func (m *media) dropped() { m.dirty = nil }

// syncedDir makes a folder's entries durable.
func (d *Disk) syncedDir(path string) error {
	files, _, err := listInodes(path)
	if err == nil {
		d.names[path] = files
	}
	return err
}
