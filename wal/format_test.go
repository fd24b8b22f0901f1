package wal

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestFormatDocument holds FORMAT.md's numbers to the code.
func TestFormatDocument(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := []struct {
		offset, size int
		name         string
	}{
		{offMagic, len(blockMagic), "magic"},
		{offVersion, 1, "version"},
		{offFlags, 1, "flags"},
		{offReserved, 2, "reserved"},
		{offHeaderSize, 4, "header size"},
		{offLogID, len(ID{}), "log ID"},
		{offNumber, 8, "number"},
		{offFirstSeq, 8, "first seq"},
		{offTime, 8, "time"},
		{offEvents, 4, "events"},
		{offEntries, 4, "entries"},
		{offStoredSize, 4, "stored size"},
		{offRawSize, 4, "raw size"},
		{offMask, 4, "mask"},
		{offDigestCount, 4, "digest count"},
		{offPayloadCRC, 4, "payload checksum"},
	}
	want := []string{
		fmt.Sprintf("| %d | %d each | digests |", offDigests, digestSize),
		fmt.Sprintf("| header size − %d | %d | header checksum |", crcSize, crcSize),
		fmt.Sprintf("`% X`", blockMagic[:]),
		fmt.Sprintf("| 8 | 1 | version | %d |", formatVersion),
		fmt.Sprintf("(%d none, %d S2, %d zstd)", CompressionNone, CompressionS2, CompressionZstd),
		fmt.Sprintf("The first %d bytes, and the checksum", prologueSize),
		fmt.Sprintf("| raw payload of a block | %d bytes |", maxPayloadSize),
		fmt.Sprintf("| digests of a block | %d |", maxBlockDigests),
		fmt.Sprintf("| events of a block | %d |", maxBlockEvents),
		fmt.Sprintf("| header size | %d to %d bytes |", minHeaderSize, maxHeaderSize),
		fmt.Sprintf("| block number | %d |", uint64(maxBlockNumber)),
		fmt.Sprintf("| entry framing | %d bytes |", maxEntryFrame),
		fmt.Sprintf("(%d MiB unless configured)", DefaultSegmentBytes>>20),
		fmt.Sprintf("(%d MiB of payload)", DefaultMaxBlockBytes>>20),
		fmt.Sprintf("(%d MiB in\nall)", DefaultQuarantineBytes>>20),
		fmt.Sprintf("{\"version\": %d, \"ids\"", identityVersion),
		fmt.Sprintf("after %d ms", minRetry.Milliseconds()),
		"| " + ReasonMissing + " |", "| " + ReasonFloor + " |", "| " + ReasonRetention + " |",
		"(*" + reasonForeign + "*)",
		"after 4,096 of them",
		fmt.Sprintf("the newest %d blocks whose payload is at most %d MiB", recentBlocks, maxRecentBlock>>20),
	}
	next := 0
	for _, f := range fields {
		if f.offset != next {
			t.Errorf("%s begins at %d, the field before it ends at %d", f.name, f.offset, next)
		}
		next = f.offset + f.size
		want = append(want, fmt.Sprintf("| %d | %d | %s |", f.offset, f.size, f.name))
	}
	if next != offDigests || rollsPerAppender != 4096 {
		t.Error("the fixed fields do not end where the digests begin, or the appender's rolls have changed")
	}
	for _, line := range want {
		if !strings.Contains(string(text), line) {
			t.Errorf("FORMAT.md does not say %q", line)
		}
	}
	for _, name := range regexp.MustCompile("`([a-z_/]+(?:_test\\.go|/format-[0-9]+))`").FindAllSubmatch(text, -1) {
		if _, err := os.Stat(string(name[1])); err != nil {
			t.Errorf("FORMAT.md names %s: %v", name[1], err)
		}
	}
}

// TestLargestEntryIsReadable: a block that holds one entry of the largest size
// that the options allow, framed, is within the format.
func TestLargestEntryIsReadable(t *testing.T) {
	largest := 0
	for _, size := range []int{maxPayloadSize - maxEntryFrame, maxPayloadSize - maxEntryFrame + 1, maxPayloadSize} {
		if _, err := (Options{Dir: "log", MaxBlockBytes: size}).withDefaults(); err == nil {
			largest = size
		}
	}
	for size, want := range map[int]bool{largest + maxEntryFrame: true, maxPayloadSize + 1: false} {
		h := Header{
			Number: 1, LogID: ID{1}, FirstSeq: 1, Events: maxBlockEvents, EntryCount: 1, Time: time.UnixMilli(1),
			Compression: CompressionS2, RawSize: size,
		}
		if _, err := parseHeader(appendBlock(nil, &h, nil, nil)); (err == nil) != want {
			t.Errorf("a payload of %d bytes: %v", size, err)
		}
	}
}
