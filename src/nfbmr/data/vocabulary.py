"""Words that names of folders, files and labels are read by, in two dozen languages.

The keys are what `words` and `denials` call kinds. Of a word in several lists the first counts.
"""

from __future__ import annotations

LISTS: dict[str, str] = {
    "good": """
        good goods ok oks okay okey normal normals normale normales normali normalny normalne pass
        passed passes passing accept accepted acceptable approved conforming conform conforme
        conformes conformi konform correct correctly healthy intact clean flawless perfect
        nondefective nondefect faultless defectless undamaged undefective qualified compliant
        gut gute guter gutes gutteil gutteile io iop ordnung fehlerfrei einwandfrei bestanden
        bon bons bonne bonnes bien reussi
        bueno buena buenos buenas correcto correcta aceptado aceptada aprobado aprobada sano sana
        buono buona buoni buone accettato approvato corretto
        bom boa bons boas aprovado aprovada normais
        goed goede goedgekeurd foutloos voldoende
        dobry dobra dobre dobrze prawidlowy prawidlowe poprawny poprawne
        iyi saglam hatasiz kusursuz uygun gecti kabul
        bra god gode godt godkand godkjent hyva dobar dobro
        годен годные годный норма нормальный хорошо хороший хорошие добрий придатний
        megfelelo hibatlan baik bagus καλο καλα جيد سليم תקין
        良品 良 良好 合格 正常 好品 好 正品 無欠陥 无缺陷 优良 양품 정상 합격""",
    "defect": """
        defect defects defective defectives defected bad bads anomaly anomalies anomalous abnormal
        abnormals abnormality abnormalities ng ngs nok noks nio niop ko fail fails failed
        failure failures failing fault faults faulty flaw flaws flawed reject rejects rejected
        rejection scrap nogood notgood notok notokay nongood nonok nonconforming nonconform
        unacceptable imperfect poor wrong incorrect unhealthy outlier outliers abn def
        noncompliant unqualified
        schlecht schlechte falsch schlechtteil schlechtteile fehler fehlerhaft defekt defekte
        defekter ausschuss mangel mangelhaft anomalie anomalien kaputt fehlteil beanstandet
        durchgefallen
        mauvais mauvaise mauvaises defaut defauts defectueux defectueuse rebut rebuts rejet rejets
        anormal anormale anormaux anomalies
        malo mala malos malas mal defecto defectos defectuoso defectuosa rechazado rechazada
        fallo fallos falla fallas anomalia anomalias anormales
        cattivo cattiva cattivi difetto difetti difettoso difettosa scarto scarti guasto
        nonconforme anomalie difettosi
        ruim ruins defeito defeitos defeituoso defeituosa reprovado reprovada mau rejeitado
        slecht slechte fout foute fouten afkeur afgekeurd defecte gebrek gebreken
        zly zla zle wad wada wady wadliwy wadliwa wadliwe odrzut odrzucony niepoprawny nieprawidlowy
        kotu hata hatali kusur kusurlu bozuk hasarli uygunsuz
        daligt underkand viallinen neispravno vadny vadne
        брак дефект дефекты дефектный плохо плохой плохие поганий непридатний
        hibas hiba selejt selejtes cacat rusak ελαττωματικο ελαττωματικα معيب تالف פגום
        不良品 不良 不合格 不合格品 次品 缺陷 缺陷品 瑕疵 异常 異常 欠陥
        欠陥品 坏 坏品 坏件 残次 不好 非正常 不正常 非良品 故障 불량 불량품 결함 이상 불합격""",
    "type": """
        scratch scratches scratched crack cracks cracked dent dents dented blowhole blowholes stain
        stains stained contamination contaminated breakage
        fray frayed burr burrs rust rusty corrosion corroded wrinkle wrinkles wrinkled dirt dirty
        scuff scuffs misplaced misaligned deformed deformation uneven porosity
        kratzer riss risse delle dellen bruch rost verschmutzung verschmutzt beschadigt beschaedigt
        beschadigung rayure rayures fissure fissures tache taches casse cassee endommage bosse
        rasguno grieta grietas abolladura mancha manchas roto rota danado rayado
        graffio graffi crepa crepe ammaccatura macchia macchie rotto danneggiato
        arranhao trinca rachadura amassado quebrado danificado
        kras krassen scheur scheuren deuk beschadigd kapot
        rysa rysy pekniecie uszkodzony uszkodzone uszkodzenie wgniecenie
        cizik catlak ezik leke kirik
        царапина трещина
        划痕 划伤 裂纹 裂痕 污渍 污点 破损 毛刺 凹陷 傷 キズ 汚れ 割れ ひび 打痕 欠け""",
    "mask": """
        mask masks masked gt gts groundtruth truth maske masken masque masques mascara mascaras
        maschera maschere masker maskers maska maski maskesi mascaras segmask bitmask
        маска маски 掩码 掩膜 蒙版 マスク 真値 마스크""",
    "label": """
        label labels lable lables labelmap annotation annotations annot annots anno annos seg segs
        segmentation segmentations segmentierung labelled annotationen etiquette etiqueta etichetta
        etiket
        標注 标注 标签 标记 ラベル アノテーション 라벨""",
    "not": """
        no not non n un nicht kein keine keinen ohne without sans pas sin senza sem nao nie bez
        niet geen zonder nem inte icke ikke ej ei ne nein nej nope не без нет
        没有 沒有 没 无 無 未 非 否 비 불 아님 아니 아닌""",
    "answer": """
        yes true false ja oui si sim tak ano evet igen kylla wahr vrai vero verdadero verdadeiro
        faux falso onwaar falsk да так истина ложь 是 对 错 真 假 はい いいえ 예 네 아니요""",
    "free": "free frei freie vrij libre libero livre",
    "after": "degil",
    "topic": """
        detection detector detect detecting inspection recognition classification classifier
        segmentationtask erkennung prufung pruefung dataset datasets database project projekt
        challenge benchmark study detecteur rilevamento deteccion deteccao 检测 検出 検査""",
    "train": """
        train training trainset trn learn learning lernen entrenamiento entrainement treino
        addestramento egitim 训练 学習""",
    "test": "test tests testing testset tst teste prova prueba 测试 テスト",
    "other": "val valid validation validierung validate dev evaluation private holdout 验证 検証",
    "unclear": """
        class classes klasse klassen classe clase clases category categories kategorie type types
        typ typen tipo tipi group groups gruppe cluster clusters grade grades quality qualitat
        ware rank severity rating score status""",
    "aside": """
        positive positives negative negatives pos neg positiv negativ unknown unlabeled unlabelled
        unsorted mixed misc other others rest todo sonstige unbekannt andere autre autres otro
        otros altro altri review tbd tba skip skipped ignore ignored exclude excluded later
        undefined inconnu inconnue desconocido desconocida sconosciuto desconhecido onbekend
        nieznany nieznane bilinmeyen okand ukendt neznamy ismeretlen неизвестно неизвестный
        未知 不明 待定 待检 待检查 其他 その他 기타 미확인 미정""",
    "doubt": """
        unsure uncertain doubt doubtful questionable suspect suspects suspected suspicious
        borderline unclear pending unchecked unverified quarantine quarantined unsicher fraglich
        zweifelhaft grenzwertig verdacht verdachtig douteux incertain dudoso dubbio incerto
        dubioso duvidoso twijfel twijfelachtig tvivlsom maybe perhaps possibly probably vielleicht
        eventuell evtl quiza forse talvez misschien ungewiss ambiguous undecided undetermined
        unclassified unconfirmed unreviewed uninspected untested ungepruft ungeprueft
        watpliwe niepewne supheli belirsiz сомнительно непонятно
        疑似 存疑 可疑 未检 未检查 未確認 未検査 未确认 要確認 要確认 의심""",
    "checked": """
        checked inspected tested reviewed verified labeled rated classified sorted sure certain
        clear known decided confirmed gepruft geprueft kontrolliert bewertet bekannt sicher klar
        entschieden verifie verifiee controle controlee connu certain revisado revisada verificado
        seguro conocido controllato controllata verificato certo noto gecontroleerd bekend zeker
        sprawdzone sprawdzony znany проверено известно""",
    "derived": """
        overlay overlays overlaid overlayed heatmap heatmaps annotated visualization visualizations
        visualisation visualisations visualized visualised preview previews thumbnail
        thumbnails thumb thumbs prediction predictions predicted pred preds bbox bboxes gradcam
        anomalymap scoremap errormap augmented augmentation augmentations
        uberlagerung ueberlagerung vorschau markiert apercu vignette miniatura superposition
        anteprima sovrapposizione result results ergebnis resultat risultato resultado
        结果 結果 결과 热力图 热图 叠加 叠加图 预览 缩略图 预测
        ヒートマップ 重ね合わせ プレビュー サムネイル 予測
        히트맵 미리보기 예측""",
    "made": """
        map maps viz vis contour contours saliency diff difference marked highlighted segmented
        composite blend blended montage processed preprocessed enhanced filtered denoised binarized
        binarised thresholded thresh canny resized depth depthmap output outputs detected
        detections heat heats colormap colormaps colormapped blend blends highlight highlights
        inference residual residuals recon reconstruction reconstructed explained explanation
        warmebild""",
    "neutral": """
        image images img imgs im picture pictures pic pics photo photos foto fotos bild bilder
        imagen imagenes immagine immagini imagem imagens afbeelding zdjecia data dataset raw rgb
        gray grey mono jpg jpeg png bmp tif tiff webp part parts teil teile piece
        pieces sample samples item items product products produkt produkte object objects specimen
        line linie cam cams camera cameras kamera station cell batch batches lot lots charge shift
        schicht day days week month year run runs set sets series serie session position view
        views side seite left right top bottom front back rear links rechts oben unten
        early late morning noon evening night early am pm
        monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun
        montag dienstag mittwoch donnerstag freitag samstag sonntag
        january february march april may june july august september october november december
        jan feb mar apr jun jul aug sep sept oct nov dec januar februar marz mai juni juli oktober
        dezember dir folder ordner directory all alle input inputs source
        src original originals orig crop crops cropped export exports upload uploads download
        downloads backup archive files file num number nr and und public reference link linked extra
        more additional
        new newer old older latest first second third neu neue alt nouveau nuevo nuovo novo
        dsc dscn dscf pxl frame frames snapshot capture shot tl tr bl br ul ur ll lr
        品 件 图像 图片 画像 写真 이미지""",
}
