package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The file systems by the numbers that statfs gives (linux/magic.h), with what
// to do about those that a log should not be on.
var fileSystems = map[int64]struct{ name, remedy string }{
	0x01021994: {"tmpfs", "put node.data_dir on a disk: what is in memory is lost with the machine"},
	0x858458f6: {"ramfs", "put node.data_dir on a disk: what is in memory is lost with the machine"},
	0x794c7630: {"overlayfs", "put node.data_dir on a volume: a container's own layer goes when the container does"},
	0x6969:     {"nfs", "put node.data_dir on a local disk: locks and syncs over a network are only as good as the server, and stop with it"},
	0xff534d42: {"cifs", "put node.data_dir on a local disk: locks and syncs over a network are only as good as the server, and stop with it"},
	0xfe534d42: {"smb2", "put node.data_dir on a local disk: locks and syncs over a network are only as good as the server, and stop with it"},
	0x65735546: {"fuse", "find out whether what is behind it keeps what was synced over a power cut"},
	0xef53:     {"ext4", ""},
	0x58465342: {"xfs", ""},
	0x9123683e: {"btrfs", ""},
	0x2fc12fc1: {"zfs", ""},
	0xf2f52010: {"f2fs", ""},
	0x4d44:     {"vfat", "put node.data_dir on a file system with a journal"},
}

func fileSystem(kind int64) (name, remedy string) {
	if known, ok := fileSystems[kind&0xffffffff]; ok {
		return known.name, known.remedy
	}
	return fmt.Sprintf("a file system of type %#x", kind&0xffffffff), ""
}

func inMemory(kind string) bool { return kind == "tmpfs" || kind == "ramfs" }

// rotates tells whether dir is on a disk that turns, as far as the kernel knows.
func rotates(dir string) bool {
	var s syscall.Stat_t
	if syscall.Stat(dir, &s) != nil {
		return false
	}
	major, minor := (s.Dev>>8)&0xfff|(s.Dev>>32)&^0xfff, s.Dev&0xff|(s.Dev>>12)&^0xff
	for _, at := range []string{"queue/rotational", "../queue/rotational"} { // of a disk, of a partition
		text, err := os.ReadFile(filepath.Join(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor), at))
		if err == nil {
			return strings.TrimSpace(string(text)) == "1"
		}
	}
	return false
}

// What adjtimex says of a clock that nothing keeps.
const (
	clockUnsynchronised = 0x40 // STA_UNSYNC
	clockError          = 5    // TIME_ERROR
)

// synchronised asks the kernel whether something keeps its clock, and within
// what bound. Known is false where that cannot be told.
func synchronised() (kept, known bool, maxErrorMicroseconds int64) {
	var t syscall.Timex
	state, err := syscall.Adjtimex(&t)
	if err != nil {
		return false, false, 0
	}
	return state != clockError && t.Status&clockUnsynchronised == 0, true, int64(t.Maxerror)
}
