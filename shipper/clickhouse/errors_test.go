package clickhouse

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"forebay/shipper"
	"forebay/shipper/clickhouse/clickhousetest"
)

func TestExplain(t *testing.T) {
	refuse := func(code int32, message string) error {
		return fmt.Errorf("wrapped: %w", &driver.Exception{Code: code, Message: message})
	}
	for name, c := range map[string]struct {
		err    error
		class  class
		view   string
		has    string
		hasNot string
	}{
		"unknown code":     {refuse(9999, "odd"), transient, "", "9999", "\n"},
		"too many parts":   {refuse(252, "Too many parts (300)"), tooManyParts, "", "TOO_MANY_PARTS", "\n"},
		"partitions":       {refuse(252, "Too many partitions for single INSERT block (more than 100). The limit is controlled by 'max_partitions_per_insert_block' setting."), tooLarge, "", "'max_partitions_per_insert_block'", "\n"},
		"memory":           {refuse(241, "Memory limit (for query) exceeded"), tooLarge, "", "MEMORY_LIMIT_EXCEEDED", "\n"},
		"a setting":        {refuse(9999, "Change setting 'some_limit' or 'secret'"), transient, "", "'some_limit'", "secret"},
		"too large a body": {&driver.HTTPError{StatusCode: 413, Err: errors.New("<html>secret")}, tooLarge, "", "413", "secret"},
		"a proxy":          {&driver.HTTPError{StatusCode: 502, Err: errors.New("<html>secret")}, transient, "", "502", "secret"},
		"names of tables":  {refuse(60, "Table 'a.b' does not exist"), needsOperator, "", "'a.b'", "\n"},
		"values in rows":   {refuse(72, "Cannot parse number 'secret\\'s': while"), badRow, "", "while", "secret"},
		"values at length": {refuse(469, "Constraint `c` violated. Column values: x = secret"), badRow, "", "Constraint `c`", "secret"},
		"a view":           {refuse(395, "Value is non-zero: while pushing to view default.`sums` (uuid)"), badRow, "default.sums", "view", "\n"},
		"network":          {&url.Error{Op: "Post", URL: "http://user:secret@host/", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, transient, "", "refused", "secret"},
		"password file":    {fmt.Errorf("clickhouse: %w", &os.PathError{Op: "open", Path: "/p", Err: os.ErrNotExist}), needsOperator, "", "/p", "\n"},
		"long":             {refuse(1, strings.Repeat("x", 10_000)), transient, "", "…", "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			err := explain(c.err)
			if got, _ := classify(err); got != c.class {
				t.Errorf("class %v, want %v", got, c.class)
			}
			if view, _ := (attempt{err: err}).failedView(); view != c.view {
				t.Errorf("view %q, want %q", view, c.view)
			}
			if text := err.Error(); !strings.Contains(text, c.has) || strings.Contains(text, c.hasNot) || len(text) > 2*maxMessage {
				t.Errorf("%q should hold %q and not %q", text, c.has, c.hasNot)
			}
		})
	}
}

// TestCodesAreDocumented compares the table in DELIVERY.md with the one in use.
func TestCodesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../DELIVERY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range codes {
		if row := fmt.Sprintf("| %d | `%s` | %s |", c.number, c.name, c.class); !strings.Contains(string(page), row) {
			t.Errorf("DELIVERY.md lacks the row %q", row)
		}
	}
}

// TestOperatorsErrors lets each run into the pause that names it, and some
// out of it again by the act that the reason asks for.
func TestOperatorsErrors(t *testing.T) {
	server, o := startOld(t)
	file := filepath.Join(t.TempDir(), "password")
	write := func(password string) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong")
	for name, c := range map[string]struct {
		change func(*Options)
		before string // SQL on TABLE
		says   string
		mend   string // SQL on TABLE
		act    func() // instead of it
	}{
		"wrong password": {
			change: func(o *Options) { o.Username, o.PasswordFile = clickhousetest.PasswordUser, file },
			says:   "mend the password file", act: func() { write(clickhousetest.Password) },
		},
		"no such password file": {
			change: func(o *Options) { o.PasswordFile = file + ".absent" }, says: "permissions of the file",
		},
		"unknown user":   {change: func(o *Options) { o.Username = "nobody" }, says: "shippers.clickhouse.username"},
		"read-only user": {change: func(o *Options) { o.Username = clickhousetest.ReadOnlyUser }, says: "readonly = 0"},
		"no database":    {change: func(o *Options) { o.Database = "absent" }, says: "table absent.TABLE does not exist"},
		"no table": {
			before: "DROP TABLE TABLE", says: "table default.TABLE does not exist", mend: strings.Replace(ownTable, "events", "TABLE", 1),
		},
		"no column": {
			before: "ALTER TABLE TABLE DROP COLUMN event_type",
			says:   "run ALTER TABLE `default`.`TABLE` ADD COLUMN `event_type` String",
			mend:   "ALTER TABLE `default`.`TABLE` ADD COLUMN `event_type` String",
		},
		"incompatible column": {
			before: "ALTER TABLE TABLE MODIFY COLUMN timestamp String",
			says:   "run ALTER TABLE `default`.`TABLE` MODIFY COLUMN `timestamp` DateTime",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := o
			own.Table = strings.NewReplacer(" ", "_", "-", "_").Replace(name)
			here := func(text string) string {
				return strings.ReplaceAll(text, "TABLE `default`.`TABLE`", "TABLE `default`.`"+own.Table+"`")
			}
			sql := func(text string) {
				if text != "" {
					server.MustQuery(t, strings.Replace(here(text), "TABLE TABLE", "TABLE "+own.Table, 1))
				}
			}
			sql(strings.Replace(ownTable, "events", "TABLE", 1))
			sql(c.before)
			if c.change != nil {
				c.change(&own)
			}
			r := newRig(t)
			r.append(20)
			r.start(own)
			want := strings.ReplaceAll(here(c.says), ".TABLE", "."+own.Table)
			if got := r.paused(); !strings.Contains(got, want) {
				t.Errorf("paused because %q, which does not say %q", got, want)
			}
			if c.act != nil {
				c.act()
			}
			sql(c.mend)
			if c.act != nil || c.mend != "" {
				r.shipped()
				if got := server.MustQuery(t, "SELECT count() FROM "+own.Table); got != "20" {
					t.Errorf("%s rows", got)
				}
			}
		})
	}
}

// TestTableLostAndChangedUnderway takes the table away, then a column, while
// the cursor runs.
func TestTableLostAndChangedUnderway(t *testing.T) {
	t.Parallel()
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		r := newRig(t)
		r.append(20)
		r.start(o)
		r.shipped()
		server.MustQuery(t, "ALTER TABLE events DROP COLUMN route")
		r.append(20)
		if o.CreateTable {
			if got, want := r.paused(), "run ALTER TABLE `default`.`events` ADD COLUMN `route` String CODEC(ZSTD(1))"; !strings.Contains(got, want) {
				t.Errorf("paused because %q, which does not say %q", got, want)
			}
			server.MustQuery(t, "ALTER TABLE `default`.`events` ADD COLUMN `route` String CODEC(ZSTD(1))")
		}
		r.shipped() // an operator's table need not have that column
		wantEach(t, server, "", 40)

		server.MustQuery(t, "DROP TABLE events")
		r.append(20)
		if !o.CreateTable {
			r.paused()
			server.MustQuery(t, ownTable)
		}
		r.shipped()
		if got := server.MustQuery(t, "SELECT count(), min(seq) FROM events"); got != "20\t41" {
			t.Errorf("after the table came back it has %q", got)
		}
	})
}

func TestTooManyParts(t *testing.T) {
	engine, o := startEngine(t)
	r := newRig(t)
	r.append(1)
	r.start(o)
	r.shipped()
	engine.MustQuery(t, "SYSTEM STOP MERGES events")
	engine.MustQuery(t, "ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1")
	r.append(10)
	eventually(t, func() bool {
		s := r.cursor.Status()
		return s.State == shipper.Failing && strings.Contains(s.LastError, "TOO_MANY_PARTS")
	}, func() string { return fmt.Sprintf("%+v", r.cursor.Status()) })
	engine.MustQuery(t, "ALTER TABLE events RESET SETTING parts_to_throw_insert, parts_to_delay_insert")
	engine.MustQuery(t, "SYSTEM START MERGES events")
	r.shipped()
	wantEach(t, engine, "", 11)
}

// TestServerAway ships through an outage that begins before the first event.
func TestServerAway(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, final string) {
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		r := newRig(t)
		r.append(50)
		r.start(o)
		eventually(t, func() bool { return r.cursor.Status().State == shipper.Failing }, func() string { return "not failing" })
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
		r.shipped()
		if s := r.cursor.Status(); s.State != shipper.Running {
			t.Errorf("state %q after the outage", s.State)
		}
		wantEach(t, server, final, 50)
	})
}

// TestFailedView: the view fails after its table has the rows.
func TestFailedView(t *testing.T) {
	bothEngines(t, func(t *testing.T, o Options, server oracle, _ string) {
		r := newRig(t)
		r.append(20)
		r.start(o)
		r.shipped()
		server.MustQuery(t, "CREATE MATERIALIZED VIEW sums ENGINE = MergeTree() ORDER BY n AS SELECT throwIf(seq = 27) AS n FROM events")
		r.append(20)
		got := r.paused()
		if !strings.Contains(got, "materialized view default.sums failed") || !strings.Contains(got, "seqs 21 to 40") {
			t.Errorf("paused because %q", got)
		}
		if dead := r.cursor.Status().Dead; dead != 0 {
			t.Errorf("%d dead letters because of a view", dead)
		}
		server.MustQuery(t, "DROP TABLE sums")
		if err := r.cursor.Resume(t.Context(), shipper.Command{}); err != nil {
			t.Fatal(err)
		}
		r.append(20)
		r.shipped()
		wantEach(t, server, "", 60)
	})
}

// An error says which address it is about, and says it once.
func TestErrorsNameTheAddressOnce(t *testing.T) {
	for text, want := range map[string]string{
		"read: dial tcp 10.0.0.1:9000: connect: connection refused": "read: dial tcp 10.0.0.1:9000: connect: connection refused",
		"read: EOF": "10.0.0.1:9000: read: EOF",
	} {
		if got := about("10.0.0.1:9000", errors.New(text)).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
