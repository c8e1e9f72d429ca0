"""Names of keys that X knows and the simulated keyboard has not.

They are those of X11's keysymdef.h and XF86keysym.h. `xdotool` ignores a name that is none, with
success; these it presses.
"""

from __future__ import annotations

from typing import Final

_FAMILIES: Final = """
    3270_ AccessX_ Arabic_ Armenian_ AudioRaise BounceKeys Byelorussian_ Cyrillic_ DRemove
    Farsi_ Georgian_ Greek_ Han Hira ISO_ Kana Kanji Kata Macedonia_ Pointer_ Serbian_ Sinh_
    Sun Thai_ Ukrain Ukranian XF86 Zen braille_ dead_ hebrew_ hp kana_ osf
"""
"""The beginnings of names of scripts and of vendors' keys."""
_NAMES: Final = """
    Abelowdot Abreve Abreveacute Abrevebelowdot Abrevegrave Abrevehook Abrevetilde
    Acircumflexacute Acircumflexbelowdot Acircumflexgrave Acircumflexhook Acircumflextilde
    Ahook Amacron Aogonek AudibleBell_Enable Babovedot BackTab CH C_H C_h Cabovedot Cacute
    Ccaron Ccircumflex Ch ClearLine Codeinput ColonSign CruzeiroSign Dabovedot Dacute_accent
    Dcaron Dcedilla_accent Dcircumflex_accent Ddiaeresis DeleteChar DeleteLine Dgrave_accent
    DongSign Dring_accent Dstroke Dtilde ENG EZH Eabovedot Ebelowdot Ecaron Ecircumflexacute
    Ecircumflexbelowdot Ecircumflexgrave Ecircumflexhook Ecircumflextilde EcuSign Ehook
    Eisu_Shift Eisu_toggle Emacron Eogonek Eth Etilde Ext16bit_L Ext16bit_R FFrancSign
    Fabovedot First_Virtual_Screen Gabovedot Gbreve Gcaron Gcedilla Gcircumflex Hcircumflex
    Hebrew_switch Henkan Henkan_Mode Hstroke IO Iabovedot Ibelowdot Ibreve Ihook Imacron
    InsertChar InsertLine Iogonek Itilde Jcircumflex KP_BackTab KP_F1 KP_F2 KP_F3 KP_F4
    Kcedilla Korean_Won L1 L10 L2 L3 L4 L5 L6 L7 L8 L9 Lacute Last_Virtual_Screen Lbelowdot
    Lcaron Lcedilla LiraSign Lstroke Mabovedot Mae_Koho Massyo MillSign MouseKeys_Accel_Enable
    MouseKeys_Enable Muhenkan MultipleCandidate Nacute NairaSign Ncaron Ncedilla NewSheqelSign
    Next_Virtual_Screen OE Obarred Obelowdot Ocaron Ocircumflexacute Ocircumflexbelowdot
    Ocircumflexgrave Ocircumflexhook Ocircumflextilde Odoubleacute Ohook Ohorn Ohornacute
    Ohornbelowdot Ohorngrave Ohornhook Ohorntilde Omacron Ooblique Overlay1_Enable
    Overlay2_Enable Pabovedot PesetaSign Prev_Virtual_Screen PreviousCandidate R1 R10 R11 R12
    R13 R14 R15 R2 R3 R4 R5 R6 R7 R8 R9 Racute Rcaron Rcedilla RepeatKeys_Enable Reset Romaji
    RupeeSign SCHWA Sabovedot Sacute Scaron Scedilla Scircumflex SingleCandidate
    SlowKeys_Enable StickyKeys_Enable System Tabovedot Tcaron Tcedilla Terminate_Server Thorn
    Touroku Tslash Ubelowdot Ubreve Udoubleacute Uhook Uhorn Uhornacute Uhornbelowdot
    Uhorngrave Uhornhook Uhorntilde Umacron Uogonek Uring User Utilde VoidSymbol Wacute
    Wcircumflex Wdiaeresis Wgrave WonSign Xabovedot Ybelowdot Ycircumflex Ydiaeresis Ygrave
    Yhook Ytilde Zabovedot Zacute Zcaron Zstroke abelowdot abovedot abreve abreveacute
    abrevebelowdot abrevegrave abrevehook abrevetilde acircumflexacute acircumflexbelowdot
    acircumflexgrave acircumflexhook acircumflextilde ahook amacron aogonek approxeq
    approximate babovedot ballotcross because blank block botintegral botleftparens
    botleftsqbracket botleftsummation botrightparens botrightsqbracket botrightsummation bott
    botvertsummationconnector breve c_h cabovedot cacute careof caret caron ccaron ccircumflex
    ch checkerboard checkmark circle club combining_acute combining_belowdot combining_grave
    combining_hook combining_tilde containsas cr crossinglines cuberoot cursor dabovedot
    dagger dcaron decimalpoint diamond digitspace dintegral doubbaselinedot doubleacute
    doubledagger doublelowquotemark downarrow downcaret downshoe downstile downtack dstroke
    eabovedot ebelowdot ecaron ecircumflexacute ecircumflexbelowdot ecircumflexgrave
    ecircumflexhook ecircumflextilde ehook eightsubscript eightsuperior elementof ellipsis
    em3space em4space emacron emdash emfilledcircle emfilledrect emopencircle emopenrectangle
    emptyset emspace endash enfilledcircbullet enfilledsqbullet eng enopencircbullet
    enopensquarebullet enspace eogonek etilde ezh fabovedot femalesymbol ff figdash
    filledlefttribullet filledrectbullet filledrighttribullet filledtribulletdown
    filledtribulletup fiveeighths fivesixths fivesubscript fivesuperior fourfifths
    foursubscript foursuperior fourthroot function gabovedot gbreve gcaron gcedilla
    gcircumflex greaterthanequal guilder hairspace hcircumflex heart hexagram horizconnector
    horizlinescan1 horizlinescan3 horizlinescan5 horizlinescan7 horizlinescan9 hstroke ht
    ibelowdot ibreve identical idotless ifonlyif ihook imacron implies includedin includes
    infinity integral intersection iogonek itilde jcircumflex jot kappa kcedilla kra lacute
    latincross lbelowdot lcaron lcedilla leftanglebracket leftarrow leftcaret
    leftdoublequotemark leftmiddlecurlybrace leftopentriangle leftpointer leftradical leftshoe
    leftsinglequotemark leftt lefttack lessthanequal lf lira logicaland logicalor longminus
    lowleftcorner lowrightcorner lstroke mabovedot malesymbol maltesecross marker minutes
    musicalflat musicalsharp mute_acute mute_asciicircum mute_asciitilde mute_diaeresis
    mute_grave nabla nacute ncaron ncedilla ninesubscript ninesuperior nl notapproxeq
    notelementof notequal notidentical numerosign obarred obelowdot ocaron ocircumflexacute
    ocircumflexbelowdot ocircumflexgrave ocircumflexhook ocircumflextilde odoubleacute oe
    ogonek ohook ohorn ohornacute ohornbelowdot ohorngrave ohornhook ohorntilde omacron
    oneeighth onefifth onesixth onesubscript onethird ooblique openrectbullet openstar
    opentribulletdown opentribulletup overbar overline pabovedot partdifferential
    partialderivative permille phonographcopyright prescription prolongedsound punctspace quad
    racute radical rcaron rcedilla rightanglebracket rightarrow rightcaret
    rightdoublequotemark rightmiddlecurlybrace rightmiddlesummation rightopentriangle
    rightpointer rightshoe rightsinglequotemark rightt righttack sabovedot sacute scaron
    scedilla schwa scircumflex script_switch seconds semivoicedsound seveneighths
    sevensubscript sevensuperior signaturemark signifblank similarequal singlelowquotemark
    sixsubscript sixsuperior soliddiamond squareroot stricteq tabovedot tcaron tcedilla
    telephone telephonerecorder therefore thinspace threeeighths threefifths threesubscript
    tintegral topintegral topleftparens topleftradical topleftsqbracket topleftsummation
    toprightparens toprightsqbracket toprightsummation topt topvertsummationconnector
    trademark trademarkincircle tslash twofifths twosubscript twothirds ubelowdot ubreve
    udoubleacute uhook uhorn uhornacute uhornbelowdot uhorngrave uhornhook uhorntilde umacron
    underbar union uogonek uparrow upcaret upleftcorner uprightcorner upshoe upstile uptack
    uring utilde variation vertbar vertconnector voicedsound vt wacute wcircumflex wdiaeresis
    wgrave xabovedot ybelowdot ycircumflex ygrave yhook ytilde zabovedot zacute zcaron
    zerosubscript zerosuperior zstroke
"""
_STARTS: Final = tuple(_FAMILIES.split())
_OTHERS: Final = frozenset(_NAMES.split())


def is_other(name: str) -> bool:
    """Whether X may know a key of this name, which the simulated keyboard has not."""
    return name in _OTHERS or name.startswith(_STARTS)
