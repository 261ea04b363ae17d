"""Names and labels: what a word says, in a dozen languages, and what an unknown word never says."""

from __future__ import annotations

import pytest

from nfbmr.data.words import mask_of, meaning

GOOD = """
    good Good GOOD_parts good-parts goodparts goodParts 01_OK OK2 okay Normal normal_dir
    pass PASSED accepted io i.O. I.O iO MT_Free defect_free defectFree no_defect not_bad flawless
    gut Gutteile gut_bilder fehlerfrei in_Ordnung ohne_Fehler bon bonnes sans_défaut bueno Buenas
    sin_defectos buono senza_difetti bom sem_defeito aprovado goed goedgekeurd zonder_fouten dobry
    prawidłowe bez_wad iyi sağlam hatasız 良品 合格 正常 OK品 合格品 無欠陥 годный 양품
    добрий megfelelő hibátlan baik καλό جيد תקין
"""
DEFECT = """
    bad BAD_parts badparts 02_NG NG3 nok NOK n.i.O. niO NiO N.G. ko fail failed abnormal Anomaly
    anomalies Abnormal_dir reject not_ok notOK NOT-OK no_good non_conforming defective
    schlecht Schlechtteile fehlerhaft nicht_in_Ordnung nicht_ok Ausschuss mauvais défauts
    non_conforme malo defectuoso rechazado difetto scarto ruim defeito reprovado slecht fout afkeur
    zły wadliwe hatalı kusurlu uygun_değil 不良品 不良 不合格 NG品 缺陷 異常 欠陥 非正常 брак 불량
    поганий hibás selejt cacat ελαττωματικό معيب פגום
"""
TYPES = "crack Scratches deep_scratch MT_Blowhole Kratzer Risse rayure grieta graffio 裂纹 キズ"
MASKS = """
    mask Masks gt GT ground_truth groundTruth GroundTruth Ground-Truth label labels annotations
    masken masque maschere máscaras maskers maski maske 掩码 マスク crack_mask good_masks 01_gt
"""
SILENT = """
    images monday batch_7 line3 2024-01-05 S0001 kos01 part_a cam1 left rgb bolt passport badge
    okapi ngram anomaly_detection defect-detection-dataset missing_label format goodyear
"""


@pytest.mark.parametrize("name", GOOD.split())
def test_words_for_good(name: str) -> None:
    said = meaning(name)
    assert said.says == {"good"}
    assert said.only
    assert said.unknown == ()


@pytest.mark.parametrize("name", DEFECT.split())
def test_words_for_defective(name: str) -> None:
    said = meaning(name)
    assert said.says == {"defect"}
    assert said.only
    assert said.unknown == ()


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("i.O.", "n.i.O."),
        ("i_o", "n_i_o"),
        ("i. O.", "n. i. O."),
        ("i-O", "n - i - O"),
        ("iO", "n.iO"),
        ("i.O", "ni.O."),
        ("O.K.", "N.O.K."),
        ("o k", "N.OK"),
        ("O_K", "N.G."),
        ("I.O.P.", "n.i.O.P."),
        ("O.K", "K.O."),
        ("g.u.t", "b_a_d"),
        ("o.k.", "not o.k."),
        ("i.O.", "nicht i.O."),
        ("i.O.", "i.O. nicht"),
    ],
)
@pytest.mark.parametrize(
    "form", ["01 {}", "{} 2", "7{}8", "Teil 7 {}", "{}-Teile", "A {}", "Teile_{}_3"]
)
def test_words_written_letter_by_letter_are_known_beside_others(
    good: str, bad: str, form: str
) -> None:
    for word, says in (good, "good"), (bad, "defect"):
        said = meaning(form.format(word))
        if form != "A {}" or word in {"i.O.", "n.i.O.", "O.K.", "N.G."}:  # not `A g.u.t`
            assert said.says == {says}
            assert said.only


def test_letters_that_count_or_say_where_are_no_words() -> None:
    for name in ("cam_n_1", "line a b", "7_o", "n_1_g", "A.B.C 3"):
        assert meaning(name).says == frozenset()
    assert meaning("3 i.O. n").unknown == ("n",)
    assert meaning("i.O. 1 n.i.O. 2").says == {"good", "defect"}
    assert meaning("3 g.t.").says == {"mask"}


@pytest.mark.parametrize("name", TYPES.split())
def test_types_of_defect_are_defects_and_keep_their_names(name: str) -> None:
    said = meaning(name)
    assert said.says == {"defect"}
    assert not said.only


@pytest.mark.parametrize("name", MASKS.split())
def test_words_for_masks(name: str) -> None:
    assert "mask" in meaning(name).says


@pytest.mark.parametrize("name", SILENT.split())
def test_what_says_nothing_is_never_good(name: str) -> None:
    assert meaning(name).says == frozenset()


@pytest.mark.parametrize("name", ["ok_and_ng", "good-bad", "OKNG"])
def test_both_words_are_both(name: str) -> None:
    assert meaning(name).says == {"good", "defect"}


@pytest.mark.parametrize(
    "name", ["ok no", "good-NOT", "gut_nicht", "okno", "bon_pas", "in Ordnung nicht", "gut_nicht_1"]
)
def test_what_is_denied_behind_a_word_for_good_is_a_defect(name: str) -> None:
    assert meaning(name).says == {"defect"}
    assert meaning(name).only


def test_what_else_a_denial_may_mean_says_nothing() -> None:
    for name in ("ok_no_12", "ok_n", "ok_ohne_deckel", "no_part_ok", "ok_not_painted"):
        assert meaning(name).unknown
    for name in ("ng_no_12", "ng_n", "fehler_keine", "false_reject", "n_bad"):
        assert "good" not in meaning(name).says
    assert meaning("no_5_ok").only
    assert meaning("defect_no").says == {"good"}


@pytest.mark.parametrize(
    "name",
    ["ok?", "good quarks", "possibly good", "ok_yes", "okyes", "ok sí", "ok_true", "!ok", "good+"],
)
def test_a_word_beside_another_is_not_all_that_is_said(name: str) -> None:
    assert meaning(name).says == {"good"}
    assert not meaning(name).only


def test_unknown_words_are_named_and_counting_is_none() -> None:
    assert meaning("bolt_7").unknown == ("bolt",)
    assert meaning("Zebra_goods").unknown == ("zebra",)
    for name in ("images", "line 3", "2024-01-05", "cam_a", "AK", "S0001"):
        assert meaning(name).unknown == ()
    for name in ("class1", "positive", "Negative", "type_b"):
        assert meaning(name).unclear


def test_what_was_made_of_a_picture_says_nothing_of_a_part() -> None:
    for name in ("7_overlay", "heatmap", "anomaly_map", "part_7_vis", "缩略图"):
        assert meaning(name).derived
    assert meaning("good_augmented").unknown == ("augmented",)
    assert not meaning("good_augmented").only
    assert not meaning("contour").unclear  # may be a type of defect, as `overlay` may not
    assert meaning("overlay").unclear
    for name in ("aug 2024", "7_left", "maple", "part_7"):
        assert not meaning(name).derived


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("test_public", "test"),
        ("Testing", "test"),
        ("validation", "other"),
        ("test_private_mixed", "other"),
        ("good", None),
    ],
)
def test_splits(name: str, split: str | None) -> None:
    assert meaning(name).split == split


@pytest.mark.parametrize(
    ("stem", "of"),
    [
        ("001_mask", ("001", True)),
        ("10_GT", ("10", True)),
        ("a-b gt", ("a-b", True)),
        ("000_ground_truth", ("000", True)),
        ("001Mask", ("001", True)),
        ("001_mask_1", ("001", True)),
        ("Part5_label", ("part5", False)),
        ("7_seg", ("7", False)),
        ("mask_001", ("001", False)),
        ("001", None),
        ("label_12", None),
        ("mask", None),
        ("egt", None),
    ],
)
def test_masks_name_their_picture(stem: str, of: tuple[str, bool] | None) -> None:
    assert mask_of(stem) == of
