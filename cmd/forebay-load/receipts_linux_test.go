package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"forebay/cmd/internal/sample"
)

// TestSendSaysWhenReceiptsAreLost has the disk fail under the receipts, when
// they are written and when the file is closed, which is where a disk that
// writes late tells that it is full. The events were accepted, so the summary is
// printed all the same.
func TestSendSaysWhenReceiptsAreLost(t *testing.T) {
	for name, c := range map[string]struct {
		receipts func(*testing.T) string
		doing    string // what is said to have failed, with the file's name
		requests int
	}{
		"when written": {
			receipts: func(*testing.T) string { return "/dev/full" },
			doing:    "write a receipt: write ",
			requests: 1,
		},
		"when closed": {
			receipts: func(t *testing.T) string { return filepath.Join(lateDisk(t), "receipts") },
			doing:    "close ",
			requests: 3,
		},
	} {
		t.Run(name, func(t *testing.T) {
			receipts := c.receipts(t)
			node := &strictNode{requests: 2, check: sample.NewCheck(), accepted: map[string]uint64{}}
			server := httptest.NewServer(node)
			defer server.Close()
			printed, err := execute(t.Context(), "send", "--url", server.URL, "--key", "key", "--events", "30", "--sessions", "3",
				"--clients", "1", "--batch", "10", "--receipts", receipts, "--json")
			if want := c.doing + receipts; !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %q and that there is no space", err, want)
			}
			var s summary
			if err := json.Unmarshal([]byte(printed), &s); err != nil || s.Requests != c.requests {
				t.Errorf("%s, %v; want a summary of %d requests", printed, err, c.requests)
			}
		})
	}
}

// lateDisk mounts a disk that takes every byte and has no room for any when a
// file is closed, until the test ends.
func lateDisk(t *testing.T) string {
	t.Helper()
	missing := func(err error) {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if os.Geteuid() != 0 {
		missing(errors.New("mounting a disk needs root"))
	}
	dir := t.TempDir()
	server, err := fs.Mount(dir, &lateRoot{}, &fs.Options{MountOptions: fuse.MountOptions{
		FsName: "late", Name: "late", DirectMountStrict: true, DisableXAttrs: true,
	}})
	if err != nil {
		missing(err)
	}
	t.Cleanup(func() {
		// The kernel lets go of a file a moment after it was closed.
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		err := server.Unmount()
		for end := time.Now().Add(10 * time.Second); errors.Is(err, syscall.EBUSY) && time.Now().Before(end); {
			<-tick.C
			err = server.Unmount()
		}
		if err != nil {
			t.Error(errors.Join(err, syscall.Unmount(dir, syscall.MNT_DETACH)))
		}
	})
	return dir
}

type lateRoot struct{ fs.Inode }

func (r *lateRoot) Create(ctx context.Context, _ string, _, _ uint32, _ *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	inode := r.NewInode(ctx, &fs.Inode{}, fs.StableAttr{})
	return inode, lateFile{}, fuse.FOPEN_DIRECT_IO, 0
}

// lateFile keeps nothing.
type lateFile struct{}

func (lateFile) Write(_ context.Context, data []byte, _ int64) (uint32, syscall.Errno) {
	return uint32(len(data)), 0
}

func (lateFile) Flush(context.Context) syscall.Errno { return syscall.ENOSPC }
