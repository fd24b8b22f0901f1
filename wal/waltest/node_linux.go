package waltest

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or folder of the disk. What it does not define goes straight
// to the backing folder.
type node struct {
	fs.LoopbackNode
	disk *Disk
}

// WrapChild makes every file and folder below one of this disk's.
func (n *node) WrapChild(_ context.Context, _ fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: fs.LoopbackNode{RootData: n.RootData}, disk: n.disk}
}

func (n *node) path() string {
	return filepath.Join(n.disk.backing, n.Path(n.Root()))
}

func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if errno := n.disk.fails(Open); errno != 0 {
		return nil, 0, errno
	}
	f, err := os.OpenFile(n.path(), int(flags)&^syscall.O_APPEND, 0)
	if err != nil {
		return nil, 0, fs.ToErrno(err)
	}
	return n.disk.handle(f), fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if errno := n.disk.fails(Open); errno != 0 {
		return nil, nil, 0, errno
	}
	path := filepath.Join(n.path(), name)
	f, err := os.OpenFile(path, int(flags)&^syscall.O_APPEND|os.O_CREATE, os.FileMode(mode))
	if err != nil {
		return nil, nil, 0, fs.ToErrno(err)
	}
	h := n.disk.handle(f)
	if err := n.disk.created(h.inode, path); err != nil {
		f.Close()
		return nil, nil, 0, fs.ToErrno(err)
	}
	child, errno := n.LoopbackNode.Lookup(ctx, name, out)
	if errno != 0 {
		f.Close()
		return nil, nil, 0, errno
	}
	n.disk.changed()
	return child, h, fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Rename(ctx context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if errno := n.disk.fails(Rename); errno != 0 {
		return errno
	}
	to, ok := parent.(*node)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	err := os.Rename(filepath.Join(n.path(), name), filepath.Join(to.path(), newName))
	if err == nil {
		n.disk.changed()
	}
	return fs.ToErrno(err)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if errno := n.disk.fails(Unlink); errno != 0 {
		return errno
	}
	errno := n.LoopbackNode.Unlink(ctx, name)
	if errno == 0 {
		n.disk.changed()
	}
	return errno
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	n.disk.mu.Lock()
	defer n.disk.mu.Unlock()
	if _, truncates := in.GetSize(); truncates {
		if errno := n.disk.fails(Truncate); errno != 0 {
			return errno
		}
	}
	errno := n.LoopbackNode.Setattr(ctx, nil, in, out)
	if _, truncates := in.GetSize(); truncates && errno == 0 {
		n.disk.changed()
	}
	return errno
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, fuseFlags, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &dir{dirHandle: h.(dirHandle), node: n}, fuseFlags, 0
}

type dirHandle interface {
	fs.FileReaddirenter
	fs.FileSeekdirer
	fs.FileReleasedirer
}

// dir is an open folder.
type dir struct {
	dirHandle
	node *node
}

func (h *dir) Fsyncdir(context.Context, uint32) syscall.Errno {
	d := h.node.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if errno := d.fails(SyncDir); errno != 0 {
		return errno
	}
	err := d.syncedDir(h.node.path())
	if err == nil {
		d.changed()
	}
	return fs.ToErrno(err)
}

// file is an open file.
type file struct {
	disk  *Disk
	file  *os.File
	inode uint64
}

func (d *Disk) handle(f *os.File) *file {
	h := &file{disk: d, file: f}
	var st syscall.Stat_t
	if syscall.Fstat(int(f.Fd()), &st) == nil {
		h.inode = st.Ino
	}
	return h
}

func (f *file) Read(_ context.Context, buf []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.fails(Read); errno != 0 {
		return nil, errno
	}
	n, err := f.file.ReadAt(buf, offset)
	if n == 0 && err != nil && err != io.EOF {
		return nil, fs.ToErrno(err)
	}
	return fuse.ReadResultData(buf[:n]), 0
}

func (f *file) Write(_ context.Context, data []byte, offset int64) (uint32, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	var errno syscall.Errno
	if fault := f.disk.begin(Write); fault != nil {
		if !fault.Short {
			return 0, fault.Err
		}
		data, errno = data[:len(data)/2], fault.Err
	}
	n, err := f.file.WriteAt(data, offset)
	f.disk.wrote(f.inode, offset, offset+int64(n))
	f.disk.changed()
	if errno == 0 && err != nil {
		errno = fs.ToErrno(err)
	}
	return uint32(n), errno
}

func (f *file) Fsync(context.Context, uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.fails(Sync); errno != 0 {
		f.disk.files[f.inode].dropped()
		return errno
	}
	err := f.disk.files[f.inode].synced()
	if err == nil {
		f.disk.changed()
	}
	return fs.ToErrno(err)
}

func (f *file) Allocate(_ context.Context, offset, size uint64, mode uint32) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if errno := f.disk.fails(Allocate); errno != 0 {
		return errno
	}
	return fs.ToErrno(syscall.Fallocate(int(f.file.Fd()), mode, int64(offset), int64(size)))
}

func (f *file) Getattr(_ context.Context, out *fuse.AttrOut) syscall.Errno {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.file.Fd()), &st); err != nil {
		return fs.ToErrno(err)
	}
	out.FromStat(&st)
	return 0
}

func (f *file) Flush(context.Context) syscall.Errno { return 0 }

func (f *file) Release(context.Context) syscall.Errno { return fs.ToErrno(f.file.Close()) }
