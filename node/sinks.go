package node

import (
	"fmt"

	"forebay/node/config"
	"forebay/shipper"
	"forebay/shipper/archive"
	"forebay/shipper/clickhouse"
	"forebay/shipper/session"
)

// The names of the cursors, as in the configuration.
const (
	clickhouseCursor = "clickhouse"
	sessionCursor    = "session"
	archiveCursor    = "archive"
)

// openCursors makes a cursor for each shipper that is enabled.
func (n *Node) openCursors() (err error) {
	logger := n.logger.With("part", "shipper")
	n.cursors, err = shipper.NewCursors(shipper.Options{Log: n.log, State: n.state, Logger: logger})
	if err != nil {
		return err
	}
	if n.cfg.Shippers.ClickHouse.Enabled {
		err = n.addClickHouse()
	}
	if err == nil && n.cfg.Shippers.Session.Enabled {
		err = n.addSession()
	}
	if err == nil && n.cfg.Shippers.Archive.Enabled {
		err = n.addArchive()
	}
	return err
}

func (n *Node) addClickHouse() error {
	o := ClickHouseOptions(n.cfg)
	o.Logger = n.logger.With("part", clickhouseCursor)
	o.Clock = n.log
	sink, err := clickhouse.New(o)
	if err != nil {
		return fmt.Errorf("shippers.clickhouse: %w", err)
	}
	n.clickhouse = sink
	_, err = n.cursors.Add(clickhouseCursor, sink, clickhouseFlush(n.cfg))
	return err
}

func clickhouseFlush(cfg config.Config) shipper.Flush {
	f := cfg.Shippers.ClickHouse.Flush
	return shipper.Flush{Rows: f.Rows, Bytes: int64(f.Bytes), Age: f.Age}
}

// ClickHouseOptions are those of the configured table, for the sink and for
// operators' commands about its schema.
func ClickHouseOptions(cfg config.Config) clickhouse.Options {
	c := cfg.Shippers.ClickHouse
	return clickhouse.Options{
		Addrs: c.Addrs, Protocol: c.Protocol, Database: c.Database, Table: c.Table,
		Username: c.Username, PasswordFile: c.PasswordFile, TLS: clickhouseTLS(c.TLS), Compression: c.Compression,
		DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout,
		CreateTable: c.CreateTable, Optional: c.OptionalColumns, TTL: c.TTL, Cluster: c.Cluster, Replicated: clickhouseReplicated(c.Replicated),
		NodeID: cfg.Node.ID,
	}
}

func clickhouseTLS(c config.ClientTLS) *clickhouse.TLS {
	if !c.Enabled {
		return nil
	}
	return &clickhouse.TLS{CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, ServerName: c.ServerName}
}

func clickhouseReplicated(c config.Replicated) *clickhouse.Replicated {
	if !c.Enabled {
		return nil
	}
	return &clickhouse.Replicated{Path: c.Path, Replica: c.Replica}
}

// sessionFlush is how much of the log the session sink takes at a time. It
// does not wait for more: events leave as they come.
var sessionFlush = shipper.Flush{Rows: 4096, Bytes: 4 << 20}

func (n *Node) addSession() error {
	o := sessionOptions(n.cfg)
	o.Logger = n.logger.With("part", sessionCursor)
	sink, err := session.New(o)
	if err != nil {
		return fmt.Errorf("shippers.session: %w", err)
	}
	n.session = sink
	_, err = n.cursors.Add(sessionCursor, sink, sessionFlush)
	return err
}

func sessionOptions(cfg config.Config) session.Options {
	c := cfg.Shippers.Session
	return session.Options{
		URL: c.URL, TokenFile: c.TokenFile, CAFile: c.CAFile, Gzip: c.Gzip, Lanes: c.Lanes, ParkedMaxAge: c.Parked.MaxAge,
		RequestEvents: c.Request.Events, RequestBytes: int(c.Request.Bytes),
	}
}

func (n *Node) addArchive() error {
	c := n.cfg.Shippers.Archive
	sink, err := archive.New(archive.Options{
		Dir: c.Dir, NodeID: n.cfg.Node.ID, Bytes: int64(c.Flush.Bytes), Age: c.Flush.Age,
		Logger: n.logger.With("part", archiveCursor),
	})
	if err != nil {
		return fmt.Errorf("shippers.archive: %w", err)
	}
	_, err = n.cursors.Add(archiveCursor, sink, archive.Flush())
	return err
}
