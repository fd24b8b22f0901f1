package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxReported bounds each list of a Report.
const maxReported = 1000

// Report is what Verify found. Lists end after 1,000 items; the counts go on.
type Report struct {
	LogID    ID     `json:"log_id"`
	Segments int    `json:"segments"`
	Blocks   int    `json:"blocks"`
	Entries  int64  `json:"entries"`
	Events   int64  `json:"events"`
	Bytes    int64  `json:"bytes"`
	FirstSeq uint64 `json:"first_seq"` // 0: no block
	LastSeq  uint64 `json:"last_seq"`

	Damage       []Damage `json:"damage"` // without the torn tail
	DamagedCount int      `json:"damaged_count"`
	Gaps         []Gap    `json:"gaps"` // seqs lost between blocks
	LostSeqs     uint64   `json:"lost_seqs"`
	// TornTail is damage at the end of the newest file: a write that was cut
	// short, or one that is being made while the log is in use.
	TornTail *Damage  `json:"torn_tail,omitempty"`
	Foreign  []string `json:"foreign,omitempty"` // files that are not the log's
	// IdentityMissing: there is no identity file; blocks of any ID passed.
	IdentityMissing bool `json:"identity_missing,omitempty"`
}

// OK reports whether every block that was ever made durable is there and whole.
func (r *Report) OK() bool { return r.DamagedCount == 0 && r.LostSeqs == 0 }

// Verify reads every block of the log in dir, checks it to the last byte, and
// changes nothing. The log may be stopped or in use; in use, a torn tail may be
// a write that is on its way. An error means that the check could not be made
// to its end; damage is not an error.
func Verify(dir string) (Report, error) { return VerifyProgress(dir, nil) }

// VerifyProgress is Verify that calls progress, if not nil, after each block
// with the bytes that it has read and those that it began with. An error of
// progress ends the check.
func VerifyProgress(dir string, progress func(read, all int64) error) (Report, error) {
	v := verifier{dir: dir, progress: progress}
	if err := v.run(); err != nil {
		return v.report, fmt.Errorf("wal: verify %s: %w", dir, err)
	}
	return v.report, nil
}

type verifier struct {
	dir     string
	report  Report
	valid   func(ID) bool
	decoder decompressor
	buf     []byte  // for payloads
	damage  *Damage // the last damage since the last good block
	number  uint64  // of the last good block

	progress  func(read, all int64) error
	read, all int64 // bytes: of the segments before this one, of all of them

	deletedUpTo string // the last segment file that retention has deleted meanwhile
}

func (v *verifier) run() error {
	found, err := listDir(v.dir)
	if err != nil {
		return err
	}
	v.report.Foreign = append(found.foreign, found.hostile...)
	identity, err := readIdentity(v.dir)
	if err != nil {
		return err
	}
	if identity != nil {
		v.report.LogID, v.valid = identity.current().ID, identity.has
	} else {
		v.report.IdentityMissing = true
		v.valid = func(id ID) bool { return !id.IsZero() }
	}
	for _, info := range found.segments {
		v.all += info.Size()
	}
	for i, info := range found.segments {
		err := v.segment(info, i == len(found.segments)-1)
		if errors.Is(err, fs.ErrNotExist) && v.deleted(info.Name()) {
			v.deletedUpTo = info.Name()
			continue
		}
		if err != nil {
			return err
		}
		v.read += info.Size()
	}
	return nil
}

// deleted reports whether retention has deleted a segment since the directory
// was listed: then those before it are gone too.
func (v *verifier) deleted(name string) bool {
	now, err := listDir(v.dir)
	return err == nil && len(now.segments) > 0 && now.segments[0].Name() > name
}

func (v *verifier) segment(info fs.FileInfo, newest bool) error {
	file, err := os.Open(filepath.Join(v.dir, info.Name()))
	if err != nil {
		return err
	}
	defer file.Close()
	number, _ := parseSegmentName(info.Name())
	v.report.Segments++
	v.report.Bytes += info.Size()
	scan := scanner{
		window:     window{file: file, limit: info.Size()},
		name:       info.Name(),
		valid:      v.valid,
		lastNumber: number - 1,
		lastSeq:    v.report.LastSeq,
	}
	for {
		raw, damage, err := scan.next()
		if damage != nil {
			if err == io.EOF && newest {
				v.report.TornTail = damage
				return nil
			}
			v.damaged(*damage)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := v.block(&raw, info.Name()); err != nil {
			return err
		}
		if v.progress != nil {
			if err := v.progress(v.read+raw.end, v.all); err != nil {
				return err
			}
		}
	}
}

func (v *verifier) block(raw *rawBlock, name string) error {
	b, err := raw.decode(v.buf, &v.decoder, name)
	var why damageError
	if errors.As(err, &why) {
		v.damaged(*raw.undecodable(name, why))
		return nil
	}
	if err != nil {
		return err
	}
	v.buf = b.payload
	r := &v.report
	if r.Blocks > 0 && b.FirstSeq > r.LastSeq+1 && v.deletedUpTo == "" {
		v.lost(b)
	}
	v.deletedUpTo = ""
	if r.Blocks == 0 {
		r.FirstSeq = b.FirstSeq
	}
	if r.IdentityMissing {
		r.LogID = b.LogID
	}
	r.Blocks++
	r.Entries += int64(b.EntryCount)
	r.Events += int64(b.Events)
	r.LastSeq, v.number, v.damage = b.LastSeq(), b.Number, nil
	return nil
}

func (v *verifier) damaged(d Damage) {
	if v.damage == nil {
		v.damage = &d
	}
	v.report.DamagedCount++
	if len(v.report.Damage) < maxReported {
		v.report.Damage = append(v.report.Damage, d)
	}
}

func (v *verifier) lost(b *Block) {
	g := Gap{First: v.report.LastSeq + 1, Last: b.FirstSeq - 1, Reason: ReasonFloor, File: b.File, Offset: b.Offset}
	g.blame(v.damage, v.number, b.Number)
	v.report.LostSeqs += g.Last - g.First + 1
	if len(v.report.Gaps) < maxReported {
		v.report.Gaps = append(v.report.Gaps, g)
	}
}
