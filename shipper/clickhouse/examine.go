package clickhouse

import (
	"context"
	"fmt"
	"strings"
)

// Examination is what one address says of itself and of the table. Nothing is
// changed there to learn it.
type Examination struct {
	Addr    string
	Version string
	Tokens  string   // as in Stats: whether a repeated insert should be dropped
	Missing []string // what the table lacks and can do without, one line each

	Unstored []Unstored // the columns that the table does not keep; extra is not among them

	Err    error  // why rows cannot be inserted; nil: they can
	Advice string // what an operator has to do about Err; "" for what may pass by itself
}

// Examine asks each address in turn whether it can be reached with these
// credentials, and whether its table takes rows. That is tried by an INSERT of
// a SELECT that yields no row: it needs the same rights, and leaves nothing.
// A table that is missing, and would be created by the sink, is no error.
func Examine(ctx context.Context, o Options) ([]Examination, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	var all []Examination
	for _, addr := range o.Addrs {
		all = append(all, o.examine(ctx, addr))
	}
	return all, nil
}

func (o Options) examine(ctx context.Context, addr string) (e Examination) {
	e.Addr = addr
	defer func() {
		if e.Err != nil {
			_, e.Advice = classify(e.Err)
		}
	}()
	conn, err := o.dial(ctx, addr)
	if err != nil {
		e.Err = about(addr, explain(err))
		return e
	}
	srv := &server{addr: addr, conn: conn, timeout: o.ReadTimeout}
	defer srv.close()
	if e.Err = srv.learnServer(ctx); e.Err != nil {
		return e
	}
	e.Version = srv.version
	defer func() {
		if old := srv.dialect.tooOld(); old != "" {
			e.Missing = append(e.Missing, old)
		}
	}()
	if srv.table, e.Err = srv.inspect(ctx, o.Database, o.Table); e.Err != nil {
		return e
	}
	if !srv.table.exists() && o.CreateTable {
		e.Missing = []string{"table " + o.Database + "." + o.Table + " is not there, or user " + o.Username + " may not see it: the node tries to create it"}
		e.Err = srv.mayWrite(ctx)
		return e
	}
	e.Unstored = lacking(o.unstored(srv.table))
	if e.Err = o.fits(srv.table); e.Err != nil {
		return e
	}
	e.Tokens, e.Missing = srv.expectTokens(), o.compare(srv.table).Differences
	columns := strings.Join(srv.table.filled(), ", ")
	e.Err = srv.exec(ctx, "INSERT INTO "+o.name()+" ("+columns+") SELECT "+columns+" FROM "+o.name()+" WHERE 0")
	return e
}

// mayWrite asks for the setting readonly, which forbids writing from 1 on.
func (c *server) mayWrite(ctx context.Context) error {
	var readonly string
	if err := c.queryRow(ctx, "SELECT any(value) FROM system.settings WHERE name = 'readonly'", &readonly); err != nil {
		return err
	}
	if readonly != "" && readonly != "0" {
		return &operatorError{"give the user a profile that may write and change settings (readonly = 0)", fmt.Errorf("%s: the user may only read (readonly = %s)", c.addr, readonly)}
	}
	return nil
}
