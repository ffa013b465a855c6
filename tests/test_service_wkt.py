"""Well-known text: the geometry does not depend on its spelling, and what is none says so, quickly."""

import time

import pytest

from service.problems import Malformed
from service.routes.edr_query import read_bbox, read_interval
from service.routes.wkt import read_area, read_position
from service.wire.model_messages import AtPosition, AtPositions, InArea

ONE_THIRD = "10.333333333333334"


@pytest.mark.parametrize(
    ("text", "longitude", "latitude"),
    [
        ("POINT(10 45)", 10, 45),
        ("point(10 45)", 10, 45),
        (" Point\t( 10\n45 ) ", 10, 45),
        ("POINT(10.123456789012345 45)", 10.123456789012345, 45),
        (f"POINT({ONE_THIRD} -45.)", 31 / 3, -45),
        ("POINT(1e1 +4.5E+1)", 10, 45),
        ("POINT(.5 -.5)", 0.5, -0.5),
        ("POINT(1000E-2 45)", 10, 45),
        ("POINT Z (10 45 2)", 10, 45),
        ("POINTZ(10 45 2)", 10, 45),
        ("POINT M(10 45 2)", 10, 45),
        ("point zm (10 45 2 3)", 10, 45),
        ("POINT(10 45 2)", 10, 45),
        ("SRID=4326;POINT(10 45)", 10, 45),
        ("srid = 4326 ; point (10 45)", 10, 45),
    ],
)
def test_a_point_in_all_spellings(text, longitude, latitude):
    assert read_position(text) == AtPosition(longitude, latitude)


@pytest.mark.parametrize(
    "text",
    [
        "MULTIPOINT((10 45),(11 46))",
        "MULTIPOINT(10 45, 11 46)",
        "multipoint z ((10 45 1), (11 46 2))",
        "SRID=4326;MULTIPOINT((10 45), 11 46)",
    ],
)
def test_many_points_in_both_forms(text):
    assert read_position(text) == AtPositions((AtPosition(10, 45), AtPosition(11, 46)))


SQUARE = ((0, 0), (9, 0), (9, 9), (0, 9), (0, 0))
HOLE = ((1, 1), (2, 1), (2, 2), (1, 1))


@pytest.mark.parametrize(
    ("text", "polygons"),
    [
        ("POLYGON((0 0,9 0,9 9,0 9,0 0))", ((SQUARE,),)),
        ("polygon z (( 0 0 1, 9 0 1, 9 9 1, 0 9 1, 0 0 1 ))", ((SQUARE,),)),
        ("POLYGON((0 0,9 0,9 9,0 9,0 0),(1 1,2 1,2 2,1 1))", ((SQUARE, HOLE),)),
        ("MULTIPOLYGON(((0 0,9 0,9 9,0 9,0 0)),((1 1,2 1,2 2,1 1)))", ((SQUARE,), (HOLE,))),
    ],
)
def test_polygons_with_holes(text, polygons):
    assert read_area(text) == InArea(polygons)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        *((text, "expected POINT") for text in ("", "POINT", "POINT()", "POINT(1)", "POINT(1,2)", "1 2")),
        *((text, "expected POINT") for text in ("POINT(1 2 3 4 5)", "POINT((1 2))", "POINT(1 2) x")),
        *(
            (text, "expected POINT")
            for text in ("POINT(1-2 3)", "POINT(0x1 2)", "POINT(1_0 2)", "POINT(1 2;)")
        ),
        *(
            (text, "expected POINT")
            for text in ("POINT Z(1 2)", "POINTQ(1 2)", "POINT(\uff11 2)", "POINT(nan 1)")
        ),
        *((text, "up to 1000") for text in ("POINT(1e400 1)", "POINT(1001 1)", "POINT(inf 1)")),
        *((text, "no point") for text in ("POINT EMPTY", "multipoint empty", "POINT Z EMPTY")),
        ("MULTIPOINT(EMPTY)", "expected POINT"),
        ("LINESTRING(1 2, 3 4)", "expected POINT"),
        ("GEOMETRYCOLLECTION(POINT(1 2))", "expected POINT"),
        ("SRID=3857;POINT(1 2)", "SRID=3857"),
        ("MULTIPOINT(" + "1 2," * 100 + "1 2)", "101 points"),
    ],
)
def test_what_is_no_point_says_what_is_expected(text, says):
    with pytest.raises(Malformed, match=says) as raised:
        read_position(text)
    assert len(raised.value.detail) < 300


@pytest.mark.parametrize(
    "text", ["POINT(" + "1" * 19_990 + "x)", "POINT(1e" + "9" * 19_990 + " 1)", " " * 20_000, "(" * 20_000]
)
def test_text_of_the_greatest_length_is_read_at_once(text):
    began = time.process_time()
    with pytest.raises(Malformed):
        read_position(text)
    assert time.process_time() - began < 1


def test_numbers_of_a_box_have_the_same_spellings():
    assert read_bbox("-.5, 1e1,+3.123456789012345,4.5E1") == (-0.5, 10, 3.123456789012345, 45)
    assert read_bbox("1,2,0,3,4,9") == (1, 2, 3, 4), "with heights"
    for text in ("1,2,3,4,5", "1,2,x,3,4,9", "1,2,3,1e999", "1,,3,4"):
        with pytest.raises(Malformed, match="WEST"):
            read_bbox(text)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "noon/..", "2020-13-01"]
)
def test_times_outside_of_the_calendar_are_malformed(text):
    with pytest.raises(Malformed, match="datetime is"):
        read_interval(text)
