"""Which test proves which promise (P) and which fault (F); the numbers are those of the issue."""

from dataclasses import dataclass

from app.settings import ROOT

MATRIX = "tests/faults/test_matrix.py::test_the_promises_hold"
REAL = "tests/faults/test_real.py::test_a_real_training_goes_on"
TORN = "tests/faults/test_torn.py::test_whatever_is_torn_the_newest_whole_one_is_resumed"

UPGRADE = (
    "the_release_before_goes_on_with_the_new_tables",
    "what_it_queues_meanwhile_is_placed_by_its_estimate",
    "words_that_it_does_not_know_are_few_and_known",
    "a_run_in_the_middle_goes_on_after_the_upgrade",
)


@dataclass(frozen=True, slots=True)
class Proof:
    """A promise or a fault, in a few words, its tests, and what they leave open."""

    number: str
    what: str
    tests: tuple[str, ...]
    open: str = ""


def rows(*names: str) -> tuple[str, ...]:
    """Rows of the matrix."""
    return tuple(f"{MATRIX}[{name}]" for name in names)


def each(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{file}.py::test_{name}" for name in names)


PROMISES = (
    Proof(
        "P1", "an accepted run is in the database; no broker loses it",
        rows("Redis flushed", "Redis back and empty", "Redis killed, and never back"),
    ),
    Proof(
        "P2", "one live attempt of a run, no more runs than places",
        (
            *rows("worker and trainer asleep past the lease", "device worker frozen past the lease"),
            *each("runs/test_machine", "nothing_is_lost_and_nothing_happens_twice"),
            *each("runs/test_claims", "a_thousand_rows_are_claimed_once_each"),
        ),
    ),
    Proof(
        "P3", "a dead attempt is closed with a named cause",
        rows("trainer killed", "trainer frozen for good", "device worker killed", "power cut"),
        "the 90 s hold with the usual lease of 15 s; the matrix runs with 4 s and waits for 60 s",
    ),
    Proof(
        "P4", "one end, for ever",
        (
            MATRIX,
            *each("test_migrations", "the_database_itself_refuses_to_change_a_run_that_is_over"),
        ),
    ),
    Proof(
        "P5", "cancelled at once, the process gone, else the device drained",
        (
            *rows("cancelled by its owner"),
            *each("workers/test_worker", "a_trainer_that_ignores_the_wish_is_killed"),
            *each("workers/test_supervise", "its_device_is_drained_by_itself"),
        ),
    ),
    Proof(
        "P6", "a resume loses one checkpoint interval; the chart is one line",
        (*rows("trainer killed", "newest checkpoint torn"), TORN, REAL),
    ),
    Proof("P7", "acknowledged metrics survive every crash", (MATRIX,)),
    Proof(
        "P8", "an artifact is whole, or not there",
        (
            *rows("trainer killed", "disk full", "power cut"),
            *each("labs/test_rundir", "an_artifact_that_fails_half_way_stays_invisible"),
        ),
    ),
    Proof(
        "P9", "a restarted web server touches no run; pages heal",
        (
            *rows("web server killed and started"),
            *each("web/test_stream", "reconnecting_anywhere_leaves_no_gap_and_repeats_nothing"),
        ),
        "one page watches each cell, not fifty",
    ),
    Proof(
        "P10", "nobody reads across people or classes",
        each(
            "web/test_routes", "a_run_is_its_owners_and_their_instructors",
            "a_class_is_its_own_peoples_and_its_instructors_steer_it",
        ),
    ),
    Proof(
        "P11", "a full disk is felt in steps, and breaks nothing",
        (
            *rows("disk full"),
            *each(
                "workers/test_supervise", "nothing_starts_when_the_disk_is_nearly_full",
                "what_runs_saves_and_waits_when_it_gets_worse",
                "held_runs_go_on_when_there_is_room_again",
            ),
        ),
    ),
    Proof(
        "P12", "an upgrade takes over what runs",
        (
            *each("faults/test_upgrade", *UPGRADE),
            *each(
                "test_migrations", "up_down_up_leaves_the_tables_of_the_models",
                "each_migration_adds_and_takes_nothing_away",
            ),
        ),
        "the release before is a recording: its statements and a run of its scripted trainer",
    ),
    Proof("F1", "trainer killed", (*rows("trainer killed"), REAL)),
    Proof("F2", "device worker killed", (*rows("device worker killed"), REAL)),
    Proof(
        "F3", "GPU memory ran out",
        each("labs/test_trainer", "every_failure_ends_with_its_name"),
    ),
    Proof(
        "F4", "main memory ran out",
        each(
            "workers/test_supervise", "who_takes_more_memory_than_was_kept_fails_alone",
            "a_run_within_its_memory_goes_on",
        ),
        "no cgroup is filled: a test may not make one everywhere",
    ),
    Proof(
        "F5", "GPU lost or its memory broken",
        (
            *each("workers/test_gpu", "a_lost_gpu_is_a_fault"),
            *each("workers/test_supervise", "a_broken_devices_runs_go_back_uncounted"),
        ),
        "on a stand-in for the driver",
    ),
    Proof("F6", "nothing is heard of a trainer", rows("trainer frozen for good")),
    Proof(
        "F7", "a process that does not die",
        each("workers/test_supervise", "its_device_is_drained_by_itself", "nothing_starts_beside_it"),
    ),
    Proof(
        "F8", "disk full while saving",
        (
            *rows("disk full"),
            *each("labs/test_rundir", "a_checkpoint_that_does_not_fit_leaves_the_earlier_one"),
        ),
        "by a limit on the size of files; no file system is mounted",
    ),
    Proof("F9", "torn checkpoint", (*rows("newest checkpoint torn"), TORN)),
    Proof(
        "F10", "power cut",
        (
            *rows("power cut"),
            *each("runs/test_power_loss", "every_image_of_the_files_holds_what_was_acknowledged"),
            REAL,
        ),
    ),
    Proof("F11", "fork bomb", each("workers/test_supervise", "too_many_threads_end_a_run")),
    Proof(
        "F12", "caches and leftovers grow",
        each(
            "web/test_storage", "what_was_used_longest_ago_goes_first",
            "who_reads_a_download_gets_all_of_it", "what_was_cut_off_goes_and_what_a_row_names_stays",
            "the_page_names_who_takes_the_room", "the_page_warns_at_four_fifths",
        ),
        "nothing comes from a hub yet: models are folders that an admin adds",
    ),
    Proof(
        "F13", "zombie writer",
        (
            *rows("worker and trainer asleep past the lease"),
            *each("workers/test_follow", "nobody_inherits_what_a_zombie_wrote"),
        ),
    ),
    Proof(
        "F14", "two workers claim one run",
        each("runs/test_claims", "a_thousand_rows_are_claimed_once_each"),
    ),
    Proof(
        "F15", "a message comes twice",
        each("workers/test_worker", "a_bell_that_rings_ten_times_starts_one_attempt"),
    ),
    Proof(
        "F16", "no GPU, or a driver that does not fit",
        (
            *each("test_entry", "a_gpu_that_is_not_here_ends_with_three"),
            *each("workers/test_gpu", "what_a_gpu_does_not_tell_is_left_out"),
        ),
    ),
    Proof(
        "F17", "broker down at a submission",
        (
            *rows("Redis killed, and never back"),
            *each("runs/test_dispatch", "a_broker_that_is_down_delays_nobody"),
        ),
    ),
    Proof("F18", "broker flushed or empty", rows("Redis flushed", "Redis back and empty")),
    Proof(
        "F19", "broker half open, worker deaf",
        (
            *rows("Redis frozen"),
            *each("runs/test_dispatch", "a_broker_that_never_answers_holds_nobody_up"),
        ),
    ),
    Proof("F20", "SQLite locked", rows("SQLite locked for 11 s")),
    Proof(
        "F21", "database restarted or cut off",
        rows(
            "Postgres restarted (fast)", "Postgres restarted (immediate)",
            "Postgres connections cut",
        ),
    ),
    Proof("F22", "web restarted under streams", rows("web server killed and started")),
    Proof(
        "F23", "streams hold connections",
        each("web/test_stream", "pollers_end_with_their_last_listener"),
        "that no connection is held is measured in benchmarks, not tested",
    ),
    Proof(
        "F24", "a loss that is no number",
        each("web/test_stream", "not_a_number_arrives_by_name"),
    ),
    Proof(
        "F25", "shutdown with open streams",
        each("web/test_stream", "streams_end_when_the_server_is_about_to"),
    ),
    Proof(
        "F26", "flood of output",
        each("workers/test_supervise", "a_flood_keeps_its_first_and_its_last_part"),
    ),
    Proof(
        "F27", "very many metrics",
        each(
            "metrics/test_downsample", "extremes_edges_and_kinds_survive",
            "a_hundred_thousand_points_become_a_thousand",
        ),
        "a hundred thousand points, not ten million",
    ),
    Proof(
        "F28", "sleeping browsers, many tabs",
        each("web/test_stream", "nobody_holds_more_streams_than_a_person_can_watch"),
    ),
    Proof(
        "F29", "the clock jumps",
        (
            *each("workers/test_housekeeper", "a_lease_that_stands_still_is_over"),
            *each("workers/test_supervise", "time_is_counted_by_a_clock_that_nobody_sets"),
        ),
    ),
    Proof(
        "F30", "migration interrupted",
        (
            *each(
                "faults/test_interrupted",
                "whoever_is_killed_at_any_statement_leaves_the_release_before",
                "pages_say_that_the_site_is_being_upgraded",
                "an_upgrade_keeps_what_was_there_before",
                "without_room_for_a_copy_nothing_is_upgraded",
                "a_machine_without_pg_dump_says_that_it_kept_no_copy",
            ),
            *each("web/test_admin", "a_missing_migration_makes_the_site_not_ready"),
        ),
    ),
    Proof(
        "F31", "four web processes",
        each("faults/test_many_webs", "four_web_servers_are_one"),
        "each counts wrong passwords and open streams by itself: the limits are those of a process",
    ),
    Proof(
        "F32", "notices lost",
        (
            *each("faults/test_many_webs", "lost_bells_lose_nothing"),
            *rows("Redis killed, and never back"),
        ),
        "pages need no notice: they read the database each 0.4 s, workers each 2 s",
    ),
    Proof("F33", "backup and restore", each("test_entry", "a_backup_brings_everything_back")),
    Proof(
        "F34", "cancel races with the end",
        (
            *rows("cancelled by its owner"),
            *each("runs/test_claims", "two_who_race_are_put_in_an_order"),
        ),
    ),
    Proof("F35", "cancel at each phase", rows("cancelled by its owner")),
    Proof("F36", "double click", each("runs/test_claims", "ten_of_one_click_start_one_run")),
    Proof(
        "F37", "quota race",
        each("runs/test_claims", "eight_who_want_the_last_place_in_a_queue_find_one"),
    ),
    Proof(
        "F38", "parent deleted",
        (
            *each(
                "runs/test_deletions", "a_dataset_stays_while_a_run_is_in_any_state",
                "the_database_lets_nobody_take_what_a_run_uses",
                "a_dataset_that_goes_while_a_run_is_sent",
            ),
            *each("runs/test_same_work", "the_other_run_is_untouched_when_the_copy_goes"),
        ),
        "runs, their artifacts and base models cannot be deleted on any page yet",
    ),
    Proof(
        "F39", "dataset replaced",
        each("runs/test_submit", "a_dataset_that_changed_on_the_disk_is_refused"),
    ),
    Proof(
        "F40", "a step that must not run twice",
        (
            *each(
                "faults/test_repeated", "an_artifact_that_replaces_another_is_there_at_every_moment",
                "an_artifact_is_announced_whenever_its_process_was_killed",
            ),
            *each(
                "runs/test_same_work", "a_crash_before_the_commit_leaves_a_run_that_waits",
                "a_crash_after_the_commit_is_settled",
            ),
            *each("web/test_storage", "what_was_cut_off_goes_and_what_a_row_names_stays"),
        ),
        "nothing is published outside of the site yet",
    ),
    Proof("F41", "upgrade while runs go on", each("faults/test_upgrade", *UPGRADE)),
    Proof(
        "F42", "a run that kills each attempt",
        (
            *each("workers/test_worker", "a_run_that_always_dies_is_held"),
            *each("runs/test_repeated", "what_ends_three_times_alike_is_held"),
        ),
    ),
    Proof(
        "F43", "account disabled meanwhile",
        each("classrooms/test_steering", "a_disabled_person_is_signed_out_and_their_runs_end"),
    ),
    Proof("F44", "impossible parameters", each("api/test_hostile", "odd_parameters_are_refused_in_words")),
    Proof(
        "F45", "a rerun gives the same",
        (*each("labs/test_training", "a_stopped_training_goes_on_with_the_same_losses"), REAL),
    ),
)  # fmt: skip


def missing(proof: Proof) -> list[str]:
    """Tests that are named and are not there."""
    return [test for test in proof.tests if not _is_there(test)]


def _is_there(test: str) -> bool:
    file, _, name = test.partition("[")[0].partition("::")
    path = ROOT / file
    return path.exists() and f"def {name}(" in path.read_text()
